"""Reconcile makes the index agree with the ledger, whatever happened to the messages, the workers and the index."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reconciling import FaultyIndex, expected_vector, faulty, item, void

from ingest.errors import InvalidInputError, StorageFullError, UnavailableError
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import Query
from ingest.items import Item
from ingest.reconcile import MAX_ATTEMPTS, Reconciled, Reconciler
from ingest.store.records import SetAside
from ingest.submit import submit_items
from ingest.sweep import sweep
from ingest.words import query_words
from tests.fakes import FakeEncoders, Installation, RecordingEncoder, RecordingQueue, installation, let_time_pass


@pytest.fixture
def encoder() -> RecordingEncoder:
    return RecordingEncoder()


@pytest.fixture
def akin(tmp_path: Path, encoder: RecordingEncoder) -> Iterator[Installation]:
    with installation(tmp_path, encoder=encoder) as made:
        yield made


def submit(akin: Installation, *items: Item) -> None:
    submit_items(akin.ledger, akin.queue, akin.settings, items)


def placed_ids(akin: Installation, generation: str = "first") -> set[str]:
    return set(akin.index.open(generation).ids())


def vector_of(akin: Installation, item_id: str, generation: str = "first") -> np.ndarray | None:
    return akin.index.open(generation).vectors([item_id]).get(item_id)


# --- What is embedded -------------------------------------------------------------------------------------------------


def test_items_are_placed_with_vector_and_payload(akin: Installation) -> None:
    submit(akin, item("a", "red bird", attributes={"year": 1990}, categories=("birds",)), item("b"))

    assert akin.reconciler.reconcile(["a", "b"]) == Reconciled(placed=2)

    collection = akin.index.open("first")
    assert placed_ids(akin) == {"a", "b"}
    assert akin.ledger.pending.count() == 0
    declared = akin.settings.attributes
    assert collection.matching_ids(["a", "b"], parse_filter({"eq": {"year": 1990}}, declared)) == {"a"}
    assert collection.matching_ids(["a", "b"], parse_filter({"eq": {"categories": "birds"}}, declared)) == {"a"}


def test_items_are_found_by_the_words_of_their_latest_text_and_not_once_deleted(akin: Installation) -> None:
    def found(word: str) -> set[str]:
        hits = akin.index.open("first").query(Query(words=query_words(word), limit=9))
        return {hit.item_id for hit in hits}

    submit(akin, item("a", "red bird"), item("b", "blue whale"))
    akin.reconciler.reconcile(["a", "b"])
    assert (found("Bird"), found("whale")) == ({"a"}, {"b"})

    submit(akin, item("a", "grey goose"))
    akin.delete_items(["b"], place=False)
    akin.reconciler.reconcile(["a", "b"])
    assert (found("bird"), found("goose"), found("whale")) == (set(), {"a"}, set())


def test_changed_attributes_update_the_payload_and_embed_nothing(akin: Installation, encoder: RecordingEncoder) -> None:
    submit(akin, item("a", attributes={"year": 1990}))
    akin.reconciler.reconcile(["a"])
    encoder.calls.clear()

    submit(akin, item("a", attributes={"year": 2000}))
    assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)

    assert encoder.calls == []
    assert akin.ledger.placements.of("first", ["a"])["a"].version == 2
    filters = [parse_filter({"eq": {"year": year}}, akin.settings.attributes) for year in (1990, 2000)]
    assert [akin.index.open("first").matching_ids(["a"], f) for f in filters] == [set(), {"a"}]


def test_an_attribute_counts_before_the_texts_of_others_are_embedded(
    akin: Installation, encoder: RecordingEncoder
) -> None:
    # given an item that is sold out now, in one batch with a new item
    submit(akin, item("a", attributes={"free": True}), item("gone"))
    akin.reconciler.reconcile(["a", "gone"])
    submit(akin, item("new"), item("a", attributes={"free": False}))
    akin.delete_items(["gone"], place=False)

    # when the new one's text is being embedded
    seen = []
    free = parse_filter({"eq": {"free": True}}, akin.settings.attributes)
    encoder.before = lambda: seen.append((akin.index.open("first").matching_ids(["a"], free), placed_ids(akin)))
    assert akin.reconciler.reconcile(["new", "a", "gone"]) == Reconciled(placed=3)

    # then no filter for what is free finds the other any more, and what was deleted is gone
    assert seen == [(set(), {"a"})]
    assert placed_ids(akin) == {"a", "new"}


def test_the_same_text_is_embedded_once_for_all_items_and_times(akin: Installation, encoder: RecordingEncoder) -> None:
    submit(akin, item("a", "same text"), item("b", "same text"), item("c", "another"))
    akin.reconciler.reconcile(["a", "b", "c"])
    submit(akin, item("d", "same text"), item("c", "same text"))
    akin.reconciler.reconcile(["d", "c"])

    assert sorted(encoder.texts) == ["another", "same text"]
    assert np.array_equal(vector_of(akin, "d"), vector_of(akin, "a"))


def test_nothing_pending_is_a_no_op(akin: Installation, encoder: RecordingEncoder) -> None:
    submit(akin, item("a"))
    akin.reconciler.reconcile(["a"])
    encoder.calls.clear()

    assert akin.reconciler.reconcile(["a", "never there"]) == Reconciled()
    assert akin.reconciler.reconcile([]) == Reconciled()
    assert encoder.calls == []


def test_deleted_items_leave_the_index(akin: Installation) -> None:
    akin.add_items([item("a"), item("b")])
    akin.delete_items(["a"], place=False)

    assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)

    assert placed_ids(akin) == {"b"}
    placed = akin.ledger.placements.of("first", ["a", "b"])
    assert {item_id: p.present for item_id, p in placed.items()} == {"a": False, "b": True}


def test_an_item_deleted_before_it_was_placed_is_in_order(akin: Installation, encoder: RecordingEncoder) -> None:
    submit(akin, item("a"))
    akin.delete_items(["a"], place=False)

    assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)

    assert (placed_ids(akin), encoder.calls, akin.ledger.pending.count()) == (set(), [], 0)


def test_a_generation_that_catches_up_gets_every_write_too(akin: Installation) -> None:
    akin.add_items([item("a"), item("b")])
    second = RecordingEncoder()
    second.fingerprint = "e" * 64
    akin.begin_next("second", second)

    akin.add_items([item("c"), item("a", "changed")])
    akin.delete_items(["b"])

    assert placed_ids(akin, "first") == placed_ids(akin, "second") == {"a", "c"}
    assert sorted(second.texts) == ["changed", "text of a", "text of b", "text of c"]


def test_without_a_live_generation_items_stay_pending(tmp_path: Path) -> None:
    with installation(tmp_path, live=False) as akin:
        submit(akin, item("a"))

        with pytest.raises(UnavailableError):
            akin.reconciler.reconcile(["a"])

        akin.ledger.pending.make_due()
        assert akin.ledger.pending.due(10, put_off=0) == [("a", 0)]


# --- Bad items ----------------------------------------------------------------------------------------------------------


def test_a_text_that_cannot_be_embedded_is_set_aside_and_the_others_are_placed(akin: Installation) -> None:
    submit(akin, item("a"), item("bad", "untokenizable"), item("b"), item("bad too", "untokenizable"))

    assert akin.reconciler.reconcile(["a", "bad", "b", "bad too"]) == Reconciled(placed=2, set_aside=2)

    assert placed_ids(akin) == {"a", "b"}
    assert akin.ledger.pending.count() == 0
    aside = akin.ledger.pending.set_aside()
    assert {(s.item_id, s.reason) for s in aside} == {
        ("bad", "it cannot be embedded: the tokenizer failed"),
        ("bad too", "it cannot be embedded: the tokenizer failed"),
    }


def test_a_point_that_the_index_refuses_is_set_aside_and_the_others_are_placed(akin: Installation) -> None:
    def refuse(points: Sequence[Any]) -> None:
        if any(point.item_id == "i37" for point in points):
            raise InvalidInputError("not_finite", "the vector is not finite")

    ids = [f"i{n}" for n in range(100)]
    submit(akin, *map(item, ids))

    outcome = faulty(akin, FaultyIndex(akin.index, before_upsert=refuse)).reconcile(ids)

    assert outcome == Reconciled(placed=99, set_aside=1)
    assert placed_ids(akin) == set(ids) - {"i37"}
    [aside] = akin.ledger.pending.set_aside()
    assert (aside.item_id, aside.reason) == ("i37", "the index refused it: the vector is not finite")


def test_what_was_set_aside_is_placed_once_its_text_is_mended(akin: Installation) -> None:
    submit(akin, item("a", "untokenizable"))
    akin.reconciler.reconcile(["a"])

    akin.add_items([item("a", "mended")])

    assert akin.ledger.pending.set_aside() == []
    assert placed_ids(akin) == {"a"}


def test_a_value_that_does_not_fit_its_attribute_sets_no_item_aside(
    akin: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    # given items that came in before year was declared as an integer
    submit(akin, item("a", attributes={"year": "1999"}), item("b", attributes={"year": "n/a"}))

    # when they are placed
    assert akin.reconciler.reconcile(["a", "b"]) == Reconciled(placed=2)

    # then what can be read as a number is filtered by, and what cannot is told of
    is_1999 = parse_filter({"eq": {"year": 1999}}, akin.settings.attributes)
    assert placed_ids(akin) == {"a", "b"}
    assert akin.index.open("first").matching_ids(["a", "b"], is_1999) == {"a"}
    [told] = [record for record in caplog.records if record.msg == "attribute values left out"]
    assert (told.attribute, told.items, told.generation) == ("year", 1, "first")  # type: ignore[attr-defined]


# --- Lost workers -------------------------------------------------------------------------------------------------------


def test_an_item_that_kills_its_workers_is_set_aside_after_four_and_harms_nobody_else(tmp_path: Path) -> None:
    # given 256 items, one of which takes its worker with it
    with installation(tmp_path, lease_seconds=0.02, batch_items=256) as akin:
        ids = [f"i{n}" for n in range(256)]
        queue = RecordingQueue()
        submit_items(akin.ledger, queue, akin.settings, list(map(item, ids)))
        patient = akin.settings.model_copy(update={"lease_seconds": 60.0})
        survivor = Reconciler(patient, akin.ledger, akin.index, akin.encoders)
        losses = []

        # when workers take what the queue and the sweep give them
        while akin.ledger.pending.count():
            for batch in queue.messages:
                if "i77" in batch and len(losses) < 20 and attempts_so_far(akin, "i77") < MAX_ATTEMPTS:
                    akin.ledger.pending.claim(batch, lease=f"lost{len(losses)}", seconds=0.02)  # and never released
                    losses.append(len(batch))
                else:
                    survivor.reconcile(batch)
            queue.messages.clear()
            time.sleep(0.03)
            akin.ledger.pending.make_due()
            sweep(akin.settings, akin.ledger, queue)

        # then it cost four workers, in ever smaller batches, and 255 items are placed
        assert losses == [256, 256, 16, 1]
        assert placed_ids(akin) == set(ids) - {"i77"}
        [aside] = akin.ledger.pending.set_aside()
        assert isinstance(aside, SetAside)
        assert (aside.item_id, aside.attempts) == ("i77", 4)
        assert "lost 4 times" in aside.reason


def attempts_so_far(akin: Installation, item_id: str) -> int:
    akin.ledger.pending.make_due()
    return dict(akin.ledger.pending.due(10_000, put_off=0)).get(item_id, 0)


def test_a_crash_between_index_and_ledger_is_repaired_by_the_next_worker(akin: Installation) -> None:
    # given a worker that dies after its points were stored and before it could say so
    def die(_: Sequence[Any]) -> None:
        raise KeyboardInterrupt

    submit(akin, item("a"))
    with pytest.raises(KeyboardInterrupt):
        faulty(akin, FaultyIndex(akin.index, after_upsert=die)).reconcile(["a"])
    assert placed_ids(akin) == {"a"}
    assert akin.ledger.placements.of("first", ["a"]) == {}

    # when the item is deleted and somebody else takes over
    akin.delete_items(["a"])

    # then it is gone
    assert placed_ids(akin) == set()


def test_a_worker_that_writes_after_its_lease_and_dies_brings_nothing_back(tmp_path: Path) -> None:
    with installation(tmp_path, lease_seconds=60) as akin:
        # given a worker that is stopped before it writes, until the item was deleted and somebody else removed it
        def be_stopped(_: Sequence[Any]) -> None:
            let_time_pass(akin.ledger, 61)
            akin.delete_items(["a"], place=False)
            assert akin.reconciler.reconcile(["a"]) == Reconciled(again=1)

        def die(_: Sequence[Any]) -> None:
            raise KeyboardInterrupt

        submit(akin, item("a"))

        # when it goes on, writes, and dies
        with pytest.raises(KeyboardInterrupt):
            faulty(akin, FaultyIndex(akin.index, before_upsert=be_stopped, after_upsert=die)).reconcile(["a"])
        assert placed_ids(akin) == {"a"}

        # then no answer shows what it wrote, and it is removed once more
        assert akin.ledger.items.deleted(["a"]) == {"a"}
        assert akin.ledger.pending.due(10, put_off=0) == []  # after another lease
        let_time_pass(akin.ledger, 61)
        assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)
        assert (placed_ids(akin), akin.ledger.pending.count()) == (set(), 0)


def test_what_a_lost_worker_had_is_searchable_at_once_and_placed_once_more(tmp_path: Path) -> None:
    with installation(tmp_path, lease_seconds=60) as akin:
        submit(akin, item("a"))
        for n in range(MAX_ATTEMPTS - 1):
            akin.ledger.pending.claim(["a"], lease=f"lost{n}", seconds=0)

        assert akin.reconciler.reconcile(["a"]) == Reconciled(again=1)
        assert placed_ids(akin) == {"a"}

        let_time_pass(akin.ledger, 30)
        assert akin.ledger.pending.due(10, put_off=0) == []
        let_time_pass(akin.ledger, 31)
        assert akin.ledger.pending.due(10, put_off=0) == [("a", 0)]  # what lost workers is not held against it any more
        assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)


@pytest.mark.parametrize("when", ["before_upsert", "after_upsert"])
def test_an_index_that_is_away_is_not_held_against_the_items(akin: Installation, when: str) -> None:
    def away(_: Sequence[Any]) -> None:
        raise UnavailableError("the index does not answer")

    submit(akin, item("a"), item("b"))
    reconciler = faulty(akin, FaultyIndex(akin.index, **{when: away}))

    for _ in range(MAX_ATTEMPTS + 2):
        with pytest.raises(UnavailableError):
            reconciler.reconcile(["a", "b"])

    akin.ledger.pending.make_due()
    assert sorted(akin.ledger.pending.due(10, put_off=0)) == [("a", 0), ("b", 0)]
    assert akin.reconciler.reconcile(["a", "b"]) == Reconciled(placed=2)


def test_a_host_without_the_encoder_of_a_generation_holds_nothing_against_the_items(akin: Installation) -> None:
    submit(akin, item("a"), item("b"))
    elsewhere = Reconciler(akin.settings, akin.ledger, akin.index, FakeEncoders())

    for _ in range(MAX_ATTEMPTS + 2):
        with pytest.raises(UnavailableError, match="is not usable on this host"):
            elsewhere.reconcile(["a", "b"])

    akin.ledger.pending.make_due()
    assert sorted(akin.ledger.pending.due(10, put_off=0)) == [("a", 0), ("b", 0)]
    assert akin.reconciler.reconcile(["a", "b"]) == Reconciled(placed=2)


def test_items_wait_a_little_before_an_index_that_was_away_is_asked_again(akin: Installation) -> None:
    akin.index.close("first")
    akin.index.drop("first")
    submit(akin, item("a"))

    for _ in range(6):  # however often: that the index is gone is not held against the item
        akin.ledger.pending.make_due()
        with pytest.raises(UnavailableError):
            akin.reconciler.reconcile(["a"])

    assert akin.ledger.pending.due(10, put_off=0) == []
    assert akin.ledger.pending.set_aside() == []
    assert akin.ledger.pending.count() == 1


# --- At the same time ---------------------------------------------------------------------------------------------------


def in_thread(call: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_workers_at_the_same_items_place_each_once(akin: Installation, encoder: RecordingEncoder) -> None:
    ids = [f"i{n}" for n in range(120)]
    submit(akin, *map(item, ids))
    outcomes: list[Reconciled] = []

    workers = [
        in_thread(lambda o=order: outcomes.append(akin.reconciler.reconcile(o))) for order in (ids, ids[::-1], ids)
    ]
    for worker in workers:
        worker.join()

    assert sum(outcome.placed for outcome in outcomes) == 120
    assert len(encoder.texts) == 120
    assert placed_ids(akin) == set(ids)
    assert akin.ledger.pending.count() == 0


def reconcile_while(akin: Installation, encoder: RecordingEncoder, meanwhile: Callable[[], None]) -> list[Reconciled]:
    """Reconcile "a"; `meanwhile` happens while its text is being embedded."""
    embedding, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        embedding.set()
        assert go_on.wait(20)

    encoder.before = wait
    outcomes: list[Reconciled] = []
    worker = in_thread(lambda: outcomes.append(akin.reconciler.reconcile(["a"])))
    assert embedding.wait(20)
    encoder.before = lambda: None
    meanwhile()
    go_on.set()
    worker.join()
    return outcomes


def test_a_write_while_the_item_is_embedded_wins(akin: Installation, encoder: RecordingEncoder) -> None:
    submit(akin, item("a", "old words"))

    outcomes = reconcile_while(akin, encoder, lambda: submit(akin, item("a", "entirely new")))

    assert outcomes == [Reconciled(again=1)]
    assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)
    assert np.allclose(vector_of(akin, "a"), expected_vector(akin, "entirely new"), atol=1e-6)
    assert akin.ledger.placements.of("first", ["a"])["a"].version == 2


def test_a_deletion_while_the_item_is_embedded_wins(akin: Installation, encoder: RecordingEncoder) -> None:
    submit(akin, item("a"))

    outcomes = reconcile_while(akin, encoder, lambda: akin.delete_items(["a"], place=False))

    assert outcomes == [Reconciled(again=1)]
    assert akin.reconciler.reconcile(["a"]) == Reconciled(placed=1)
    assert placed_ids(akin) == set()


def test_a_generation_that_begins_while_an_item_is_embedded_gets_it_too(
    akin: Installation, encoder: RecordingEncoder
) -> None:
    submit(akin, item("a"))

    outcomes = reconcile_while(akin, encoder, lambda: void(akin.begin_next("second", encoder)))

    assert outcomes == [Reconciled(again=1)]
    akin.place_all()
    assert placed_ids(akin, "first") == placed_ids(akin, "second") == {"a"}


def test_no_transaction_is_open_while_embedding(akin: Installation, encoder: RecordingEncoder) -> None:
    # given a worker in the middle of embedding, another writer is not kept waiting
    submit(akin, item("a"))

    outcomes = reconcile_while(akin, encoder, lambda: akin.ledger.ping() or submit(akin, item("b")))

    assert outcomes == [Reconciled(placed=1)]


def test_work_that_took_longer_than_its_lease_writes_nothing(tmp_path: Path, encoder: RecordingEncoder) -> None:
    with installation(tmp_path, encoder=encoder, lease_seconds=0.1) as akin:
        encoder.before = lambda: time.sleep(0.15)
        submit(akin, item("a"))

        with pytest.raises(UnavailableError, match="lease"):
            akin.reconciler.reconcile(["a"])

        assert placed_ids(akin) == set()
        assert akin.ledger.pending.count() == 1


def test_no_write_begins_that_the_lease_might_not_last_for(tmp_path: Path, encoder: RecordingEncoder) -> None:
    with installation(tmp_path, encoder=encoder, lease_seconds=1.0) as akin:
        encoder.before = lambda: time.sleep(0.8)  # a quarter of it must be left
        submit(akin, item("a"))

        with pytest.raises(UnavailableError, match="lease"):
            akin.reconciler.reconcile(["a"])

        assert placed_ids(akin) == set()


# --- The disk -----------------------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_before_anything_is_written(tmp_path: Path, akin: Installation) -> None:
    full = akin.settings.model_copy(update={"min_free_bytes": 2**62})
    submitted = akin.ledger.items.count()

    with pytest.raises(StorageFullError):
        submit_items(akin.ledger, akin.queue, full, [item("a")])

    assert akin.ledger.items.count() == submitted
    assert akin.ledger.pending.count() == 0


def test_items_wait_while_the_disk_is_full(akin: Installation) -> None:
    def full(_: Sequence[Any]) -> None:
        raise StorageFullError("no room")

    submit(akin, item("a"))

    with pytest.raises(StorageFullError):
        faulty(akin, FaultyIndex(akin.index, before_upsert=full)).reconcile(["a"])

    akin.ledger.pending.make_due()
    assert akin.ledger.pending.due(10, put_off=0) == [("a", 0)]
