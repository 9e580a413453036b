"""How a generation is built, with a real index, a real ledger and a real build process, and what a start puts in order."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generations_by_hand import Akin, WorkingQueue, akin, hand_driven, item, settings, some_items

from ingest.catalogue import open_catalogue
from ingest.documents import centred, document
from ingest.encoder.library import EncoderLibrary
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import CollectionSpec, NoWordsError, Query
from ingest.items import AttributeType, Item
from ingest.settings import Settings
from ingest.store.records import GenerationState
from ingest.submit import submit_items
from ingest.words import query_words
from tests.artifacts import default_artifact
from tests.fakes import HashingEncoder, installation

__all__ = ["akin", "settings"]

# --- Building -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_writes_and_deletions_during_a_build_are_in_the_new_generation(settings: Settings) -> None:
    with open_catalogue(settings) as catalogue, hand_driven(catalogue) as akin:
        # given a catalogue with deletions, and a build under way
        akin.put(*some_items(80))
        akin.delete("i0")
        before = akin.live.name
        begun = akin.reindexer.request()
        assert akin.reindexer.request() == begun
        akin.reindexer.advance()

        # when items come, change and go while it runs
        model = {f"i{n}": f"i text number {n}" for n in range(1, 80)}
        for n in range(1, 1_000):
            if akin.ledger.generations.get(begun.name).state is not GenerationState.BUILDING:
                break
            assert akin.live.name == before
            akin.put(item(f"new{n}", f"a new item {n}"), item(f"i{n % 40 + 1}", f"changed {n}"))
            model |= {f"new{n}": f"a new item {n}", f"i{n % 40 + 1}": f"changed {n}"}
            if n > 5:
                akin.delete(f"new{n - 5}")
                del model[f"new{n - 5}"]
            akin.reindexer.advance()
        akin.delete("i60")
        del model["i60"]
        akin.finish()

        # then the new generation is live and holds exactly the last state, with the vectors of its encoder
        assert akin.live.name == begun.name
        assert akin.ids() == set(model)
        assert akin.ledger.generations.get(before).state is GenerationState.RETIRED
        assert akin.live.mean is not None
        documents = {i: document(item(i, text), 1, settings.text_template) for i, text in model.items()}
        sample = sorted(model)[::10]
        embedded = catalogue.encoders.get(akin.live.fingerprint).embed([documents[i].text for i in sample])
        stored = akin.index.open(begun.name).vectors(sample)
        for i, vector in zip(sample, embedded, strict=True):
            assert np.allclose(stored[i], centred(vector, akin.live.mean), atol=1e-5)
        assert akin.live.report["passed"] is True


def test_a_reindex_gives_words_to_an_index_that_was_built_without_them(akin: Akin) -> None:
    # given a live collection as it was made before there were words
    live, words = akin.live, query_words("number 7")
    akin.index.drop(live.name)
    akin.index.create(live.name, CollectionSpec(dimensions=live.dimensions, attributes=live.attributes))
    akin.ledger.placements.forget(live.name)
    akin.ledger.generations.missing(live.name, job_id="again")
    akin.finish()
    with pytest.raises(NoWordsError):
        akin.index.open(live.name).query(Query(words=words, limit=1))

    # when it is built again
    begun = akin.reindex()

    # then items are found by their words, weighed by the catalogue's own lengths
    collection = akin.index.open(begun.name)
    assert begun.state is GenerationState.LIVE
    assert collection.average_length == 4.0
    assert collection.query(Query(words=words, limit=60))[0].item_id == "i7"
    akin.put(item("late", "a zeppelin"))
    assert [hit.item_id for hit in collection.query(Query(words=query_words("Zeppelin"), limit=9))] == ["late"]


def test_an_attribute_can_be_declared_with_a_type_that_not_every_value_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with installation(tmp_path) as made:
        # given items from before `pages` was declared
        with hand_driven(made) as akin:
            values: dict[str, Any] = {"a": 300, "b": "300", "c": "many"}
            akin.put(*(Item(item_id=i, text=i, attributes={"pages": pages}) for i, pages in values.items()))

        # when it is declared, a new item comes, and the index is built again
        made.settings = made.settings.model_copy(update={"attributes": {"pages": AttributeType.INTEGER}})
        with hand_driven(made) as akin:
            akin.put(Item(item_id="d", text="d", attributes={"pages": 300}))
            begun = akin.reindex()

            # then every item is in it, and the filter sees each value that is a number
            assert begun.state is GenerationState.LIVE
            assert akin.ids() == {"a", "b", "c", "d"}
            filter_ = parse_filter({"eq": {"pages": 300}}, begun.attributes)
            assert akin.index.open(begun.name).matching_ids(list("abcd"), filter_) == {"a", "b", "d"}
    told = {(r.attribute, r.items) for r in caplog.records if r.msg == "attribute values left out"}
    assert told == {("pages", 1)}


def test_the_type_of_an_attribute_can_be_changed_by_a_reindex(tmp_path: Path) -> None:
    with installation(tmp_path) as made:
        made.settings = made.settings.model_copy(update={"attributes": {"year": AttributeType.KEYWORD}})
        with hand_driven(made) as akin:
            akin.put(Item(item_id="a", text="a", attributes={"year": "1999"}))
            akin.reindex()

        # when new items have the new type while the live generation has the old one
        made.settings = made.settings.model_copy(update={"attributes": {"year": AttributeType.INTEGER}})
        with hand_driven(made) as akin:
            akin.put(Item(item_id="b", text="b", attributes={"year": 2001}))
            as_text = parse_filter({"eq": {"year": "2001"}}, akin.live.attributes)
            assert akin.index.open(akin.live.name).matching_ids(["a", "b"], as_text) == {"b"}
            begun = akin.reindex()

            # then nothing is set aside, and both are filtered by as numbers
            assert akin.ledger.pending.set_aside() == []
            assert begun.state is GenerationState.LIVE
            since = parse_filter({"gte": {"year": 1999}}, begun.attributes)
            assert akin.index.open(begun.name).matching_ids(["a", "b"], since) == {"a", "b"}


def test_a_build_reports_how_far_it_has_come(akin: Akin) -> None:
    akin.reindexer.request()
    seen = []

    def watch() -> bool:
        if akin.reindexer.progress:
            seen.append(akin.reindexer.progress)
        return akin.ledger.generations.under_way() is None

    akin.work_until(watch)

    assert all(progress.total == 60 and 0 <= progress.done <= 60 for progress in seen)
    assert akin.reindexer.progress is None
    assert akin.live.items == 60


def test_a_killed_build_fails_with_a_reason_and_the_live_generation_serves_on(akin: Akin) -> None:
    before = akin.live
    begun = akin.reindexer.request()
    akin.reindexer.advance()
    child = akin.reindexer._child
    assert child is not None
    assert child._process.pid is not None

    os.kill(child._process.pid, signal.SIGKILL)
    akin.finish()

    ended = akin.ledger.generations.get(begun.name)
    assert ended.state is GenerationState.FAILED
    assert "exit code -9" in ended.report["reason"]
    assert akin.live == before
    assert len(akin.ids()) == 60
    assert not akin.reindexer.rebuild_is_due()  # it would most likely fail again: a person or the night decides
    assert akin.reindex().state is GenerationState.LIVE


def test_a_build_that_was_lost_while_it_embedded_is_begun_again(akin: Akin) -> None:
    begun = akin.reindexer.request()
    akin.reindexer.advance()
    child = akin.reindexer._child
    assert child is not None
    assert child._process.pid is not None
    akin.ledger.generations.count_attempts(begun.name, ["a text that is being embedded"])

    os.kill(child._process.pid, signal.SIGKILL)
    akin.finish()

    assert akin.live.name == begun.name
    assert "attempts" not in akin.live.report


def test_a_build_waits_for_a_dependency_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with installation(tmp_path) as made:
        # given a Qdrant server that does not answer when the nightly generation is built
        right = made.settings
        elsewhere = {"qdrant_url": "http://127.0.0.1:1", "qdrant_write_seconds": 0.2, "encoder": default_artifact()}
        made.settings = right.model_copy(update=elsewhere)
        made.index = ServerlessIndex()
        encoders = EncoderLibrary(tmp_path)
        made.encoders = encoders
        with hand_driven(made) as akin:
            begun = akin.reindexer.request_nightly()
            assert begun is not None
            until = time.monotonic() + 60
            while "reindex waits" not in caplog.messages and time.monotonic() < until:
                akin.reindexer.advance()
                time.sleep(0.05)

            # then it is not over: the same generation is built once that is there again
            assert "reindex waits" in caplog.messages
            assert akin.ledger.generations.get(begun.name).state is GenerationState.BUILDING
            akin.reindexer.advance()
            assert akin.reindexer._child is None  # not at once
            akin.reindexer._build_at = 0.0
            akin.reindexer.advance()
            assert akin.reindexer._child is not None
        encoders.close()


class ServerlessIndex:
    """Nothing is asked of it."""


def test_a_build_that_cannot_embed_fails_with_the_reason(akin: Akin) -> None:
    akin.ledger.items.write([item("unknown", "never embedded")], job_id="j", revive=False, due_in=60)

    begun = akin.reindexer.request()
    while akin.reindexer.advance():
        time.sleep(0.02)

    ended = akin.ledger.generations.get(begun.name)
    assert ended.state is GenerationState.FAILED
    assert "encoder" in ended.report["reason"]


def test_a_build_interrupted_by_a_restart_is_done_again(tmp_path: Path) -> None:
    # given an akin that stopped while it built
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(60))
        begun = akin.reindexer.request()
        akin.reindexer.advance()
        time.sleep(0.5)

    # when it starts again
    with installation(tmp_path, live=False) as made, hand_driven(made) as akin:
        made.encoders.add(HashingEncoder())
        assert akin.ledger.generations.get(begun.name).state is GenerationState.BUILDING
        akin.put(item("added since", "i text number 5"))
        akin.delete("i7")
        akin.finish()

        # then the generation is complete and live
        assert akin.live.name == begun.name
        assert akin.ids() == {f"i{n}" for n in range(60) if n != 7} | {"added since"}


def test_a_rebuild_is_due_once_the_catalogue_has_outgrown_its_index(tmp_path: Path) -> None:
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(49))
        assert not akin.reindexer.rebuild_is_due()
        akin.put(*some_items(50))
        assert akin.reindexer.rebuild_is_due()
        made.ledger.items.write([item("waiting", "waits")], job_id="j", revive=False, due_in=60)
        assert not akin.reindexer.rebuild_is_due()
        akin.delete("waiting")
        akin.ledger.pending.make_due()
        akin.finish()

        akin.reindexer.request()
        assert not akin.reindexer.rebuild_is_due()
        akin.finish()

        assert not akin.reindexer.rebuild_is_due()
        akin.put(*some_items(40, "more"))
        assert not akin.reindexer.rebuild_is_due()
        akin.put(*some_items(60, "more"))
        assert akin.reindexer.rebuild_is_due()


def test_as_many_generations_are_kept_as_the_settings_say(akin: Akin) -> None:
    names = [akin.live.name, *(akin.reindex().name for _ in range(3))]

    assert [g.name for g in akin.ledger.generations.list()] == names[:1:-1]
    assert akin.index.names() == sorted(names[2:])
    assert [akin.ledger.placements.count(name) for name in names] == [0, 0, 60, 60]


def test_vectors_of_texts_that_stand_nowhere_are_forgotten_with_the_last_generation(akin: Akin) -> None:
    akin.put(item("i1", "another text"))
    old = document(item("i1", "i text number 1"), 1, akin.settings.text_template).content_hash

    assert old not in akin.ledger.placements.vectors(akin.reindex().fingerprint, [old])


# --- Starting -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_an_index_that_cannot_be_read_is_filled_again_from_the_ledger(settings: Settings, damage: str) -> None:
    # given a catalogue whose shard was damaged
    with open_catalogue(settings) as catalogue, hand_driven(catalogue) as akin:
        akin.put(*some_items(40))
        akin.delete("i3")
        name = akin.live.name
    folder = settings.home / "index" / name
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        for file in (folder / "shard").rglob("*"):
            if file.is_file():
                file.write_bytes(b"garbage" * 10)

    # when akin starts
    with open_catalogue(settings) as catalogue, hand_driven(catalogue) as akin:
        assert akin.ids() == set()
        assert akin.ledger.pending.count() == 39
        akin.finish()

        # then everything is there again, and what was damaged is kept for whoever wants to look
        assert akin.live.name == name
        assert akin.ids() == {f"i{n}" for n in range(40) if n != 3}
    aside = list((settings.home / "index").glob(f"{name}.unreadable-*"))
    assert len(aside) == (damage == "garbage")


@pytest.mark.slow
def test_a_start_breaks_the_leases_of_the_dead(settings: Settings) -> None:
    with open_catalogue(settings) as catalogue:
        submit_items(catalogue.ledger, WorkingQueue(catalogue.reconciler), settings, [])
        catalogue.ledger.items.write([item("a", "text")], job_id="j", revive=False, due_in=60)
        catalogue.ledger.pending.claim(["a"], lease="dead", seconds=600)

    with open_catalogue(settings) as catalogue:
        assert catalogue.ledger.pending.due(10, put_off=0) == [("a", 1)]
