"""Training reads and writes the ledger; placing brings what changed to the index, and nothing that happens loses it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.build import build
from ingest.events import Event
from ingest.index.protocol import Query, SparseVector
from ingest.items import Item
from ingest.scoring import BlendWeights
from ingest.store.generations import NewGeneration
from ingest.store.records import GenerationState
from ingest.taste.blending import Choice
from ingest.taste.keeping import Keep
from ingest.train import place_taste, train_live
from ingest.trainer import Trainer
from tests.fakes import HashingEncoder, Installation, installation


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    """Four items; everybody who likes a likes b, and everybody who likes c likes d."""
    with installation(tmp_path, taste_least_users=4) as made:
        made.add_items([Item(item_id=i, text=f"text of {i}") for i in "abcd"])
        made.add_events(likes("pqr", "ab") + likes("stu", "cd") + likes("v", "a"))
        yield made


def likes(users: str, items: str, type_: str = "like") -> list[Event]:
    return [Event(event_id=f"{u}{i}{type_}", user_id=u, item_id=i, type=type_) for u in users for i in items]


def liked_with(akin: Installation, item_id: str, generation: str = "first") -> str | None:
    """The item that the index finds first by the taste of one like."""
    position = akin.ledger.taste.positions([item_id])[item_id]
    hits = akin.index.open(generation).query(Query(taste=SparseVector(positions=(position,), weights=(1.0,)), limit=1))
    return hits[0].item_id if hits else None


def test_what_is_liked_together_points_at_each_other(akin: Installation) -> None:
    report = train_live(akin.settings, akin.ledger)

    assert (report.items, report.users, report.events, report.changed, report.note) == (4, 6, 12, 4, "")
    assert place_taste(akin.ledger, akin.index) == 4
    assert [liked_with(akin, i) for i in "abcd"] == ["b", "a", "d", "c"]


def test_as_many_weights_are_kept_as_were_found_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ingest.taste.blending.learn", lambda *_, **__: Choice(BlendWeights(text=0.3), Keep(2, "most_used"), 0.3)
    )
    with installation(tmp_path, taste_least_users=4) as akin:
        akin.add_items([Item(item_id=i, text=f"text of {i}") for i in "abcd"])
        akin.add_events(likes("pqr", "abc") + likes("stu", "bcd"))

        report = train_live(akin.settings, akin.ledger)

        weights = akin.ledger.taste.weights(list("abcd"))
        assert (report.neighbours, report.kept, report.taste_fading) == (2, "most_used", 0.3)
        assert {len(one.positions) for one in weights.values()} == {2}
        assert akin.ledger.learned.blend() == BlendWeights(text=0.3)
        assert akin.ledger.learned.taste_fading() == 0.3


def test_weights_are_trained_with_the_fading_that_was_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(name: str, fading: float) -> list[tuple[float, ...]]:
        monkeypatch.setattr("ingest.taste.blending.learn", lambda *_, **__: Choice(BlendWeights(), Keep(3), fading))
        with installation(tmp_path / name, taste_least_users=4) as akin:
            akin.add_items([Item(item_id=i, text=f"text of {i}") for i in "abcd"])
            for user in "pqrstu":  # one after another
                akin.add_events(likes(user, "abcd"))
            report = train_live(akin.settings, akin.ledger)
            assert report.taste_fading == akin.ledger.learned.taste_fading() == fading
            return [one.weights for one in akin.ledger.taste.weights(list("abcd")).values()]

    whole, near = trained("whole", 0.0), trained("near", 5.0)

    assert max(whole[0]) == pytest.approx(min(whole[0]), rel=1e-3)
    assert max(near[0]) > 1.5 * min(near[0])


def test_training_again_without_news_changes_nothing(akin: Installation) -> None:
    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)

    assert train_live(akin.settings, akin.ledger).changed == 0
    assert place_taste(akin.ledger, akin.index) == 0


def test_too_few_events_are_said_and_leave_nothing_behind(akin: Installation) -> None:
    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)
    for user in "pqr":
        akin.users.erase(user)

    report = train_live(akin.settings.model_copy(update={"taste_fading": 0.3}), akin.ledger)

    assert "too few events: 3 users" in report.note
    assert (report.neighbours, report.kept, report.taste_fading) == (0, "", 0.0)
    assert place_taste(akin.ledger, akin.index) == 4
    assert [liked_with(akin, i) for i in "abcd"] == [None] * 4


def test_without_a_generation_there_is_nothing_to_train(tmp_path: Path) -> None:
    with installation(tmp_path, live=False) as empty:
        assert train_live(empty.settings, empty.ledger).note == "no generation is live yet"


def test_an_item_that_changes_keeps_its_taste(akin: Installation) -> None:
    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)

    akin.add_items([Item(item_id="b", text="another text")])

    assert liked_with(akin, "a") == "b"


def test_a_deleted_item_is_found_by_no_taste_and_does_not_come_back(akin: Installation) -> None:
    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)

    akin.delete_items(["b"])
    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)

    assert liked_with(akin, "a") != "b"
    assert "b" not in akin.ledger.taste.weights("abcd")


def test_a_training_that_ends_while_an_item_is_placed_is_not_overwritten(akin: Installation) -> None:
    collection = akin.index.open("first")
    upsert = collection.upsert

    def train_first(points: object) -> None:
        train_live(akin.settings, akin.ledger)
        place_taste(akin.ledger, akin.index)
        upsert(points)

    collection.upsert = train_first
    akin.add_items([Item(item_id="b", text="another text")])

    assert liked_with(akin, "a") == "b"


def test_a_generation_that_catches_up_gets_the_weights(akin: Installation) -> None:
    train_live(akin.settings, akin.ledger)

    akin.begin_next("second", HashingEncoder(seed="other"))
    place_taste(akin.ledger, akin.index)

    assert [liked_with(akin, "a", name) for name in ("first", "second")] == ["b", "b"]


def test_a_build_trains_and_carries_the_weights(akin: Installation) -> None:
    encoder = next(iter(akin.encoders.encoders.values()))
    new = NewGeneration(name="second", fingerprint=encoder.fingerprint, dimensions=16, attributes={})
    generation = akin.ledger.generations.begin(new)

    asked_to = akin.settings.model_copy(update={"train_taste": True})
    build(asked_to, akin.ledger, akin.index, akin.encoders, generation, lambda *_: None)

    assert liked_with(akin, "a", "second") == "b"
    assert place_taste(akin.ledger, akin.index) == 0, "the live generation waits until the build is done"
    assert place_taste(akin.ledger, akin.index, beside_a_build=True) == 4, "unless nobody may be at work on the build"
    assert liked_with(akin, "a") == "b"
    akin.ledger.generations.catch_up("second", mean=None, items=4, job_id="second")
    assert place_taste(akin.ledger, akin.index) == 0, "both have all"
    assert akin.ledger.generations.get("second").state is GenerationState.CATCHING_UP


def test_the_text_of_items_takes_part(akin: Installation) -> None:
    akin.add_items(
        [Item(item_id="e", text="text of a"), *(Item(item_id=f"x{n}", text=f"other {n}") for n in range(50))]
    )

    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)
    without = akin.settings.model_copy(update={"taste_text_share": 0.0})

    assert "e" in akin.ledger.taste.weights("e")
    train_live(without, akin.ledger)
    assert "e" not in akin.ledger.taste.weights("e")


def test_a_catalogue_above_the_limit_is_trained_without_text(akin: Installation) -> None:
    akin.add_items([Item(item_id="e", text="text of a")])

    train_live(akin.settings.model_copy(update={"taste_dense_items": 2}), akin.ledger)

    assert "e" not in akin.ledger.taste.weights("e")
    assert np.argmax(akin.ledger.taste.weights("a")["a"].weights) == 0


def test_rarities_are_written_of_items_that_have_one_and_go_when_a_training_finds_none(akin: Installation) -> None:
    akin.add_items([Item(item_id=f"x{n}", text=f"kind {n % 3} number {n}") for n in range(60)])
    akin.add_items([Item(item_id="silent", text="")])

    def rarities() -> dict[str, float]:
        changed = akin.ledger.learned.rarities_since("")
        return {} if changed is None else changed[1]

    train_live(akin.settings, akin.ledger)
    written = rarities()
    assert len(written) > 50
    assert 1.0 not in written.values()

    train_live(akin.settings.model_copy(update={"taste_dense_items": 2}), akin.ledger)
    assert rarities() == {}


def test_a_catalogue_above_the_limit_keeps_what_its_texts_are_worth(tmp_path: Path) -> None:
    """Everybody likes one kind of items, which their texts name, and what is popular; a training reads no texts here."""
    rng = np.random.default_rng(1)
    with installation(tmp_path, taste_dense_items=100) as akin:
        akin.add_items([Item(item_id=f"i{n}", text=f"kind {n % 20} number {n}") for n in range(200)])
        for user in range(200):
            popular = np.minimum(rng.zipf(1.5, size=4), 40) - 1
            akin.add_events(
                [
                    Event(event_id=f"{user}-{n}", user_id=f"u{user}", item_id=f"i{item}", type="like")
                    for n, item in enumerate([*(rng.integers(0, 10, 6) * 20 + user % 20), *popular])
                ]
            )

        report = train_live(akin.settings, akin.ledger)

        learned = akin.ledger.learned.blend()
        assert report.blend is not None
        assert learned.prior > 0
        assert (learned.text, learned.interests_prior) == (BlendWeights().text, BlendWeights().interests_prior)


def test_a_training_in_a_process_of_its_own_reports_and_is_placed(akin: Installation) -> None:
    trainer = Trainer(akin.settings, akin.ledger, akin.index)
    assert trainer.advance() is None

    trainer.request()
    report = None
    deadline = time.monotonic() + 60
    while report is None and time.monotonic() < deadline:
        report = trainer.advance()
        time.sleep(0.05)

    assert report is not None
    assert replace(report, seconds=0).changed == 4
    assert liked_with(akin, "a") == "b"
    trainer.close()


def test_a_training_can_be_stopped(akin: Installation) -> None:
    trainer = Trainer(akin.settings, akin.ledger, akin.index)
    trainer.request()
    trainer.advance()

    trainer.close()

    assert trainer.advance() is None
    assert akin.ledger.taste.latest() == 0
