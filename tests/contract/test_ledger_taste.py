"""What the taste part of every ledger must do, run over SQLite and PostgreSQL."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from ledger_fixtures import begin, delete, event, item, place, write

from ingest.index.protocol import SparseVector
from ingest.scoring import BlendWeights
from ingest.store import events as event_store
from ingest.store.ledger import Ledger
from ingest.weights import Usual, Votes

VIEWS = Votes(types=frozenset({"view"}))


@dataclass
class Model:
    """Weights by item and by the item that they come from."""

    weights: dict[str, dict[str, float]]
    item_ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.item_ids = tuple(self.weights)

    def rows(self):
        for item_id, row in self.weights.items():
            there = np.array([self.item_ids.index(name) for name in row], np.int32)
            yield item_id, there, np.array(list(row.values()), np.float32)


def weights_by_name(ledger: Ledger, *item_ids: str) -> dict[str, dict[str, float]]:
    names = {position: item_id for item_id, position in ledger.taste.positions("abcdefgh").items()}
    return {
        item_id: {names[p]: pytest.approx(w) for p, w in zip(vector.positions, vector.weights, strict=True)}
        for item_id, vector in ledger.taste.weights(item_ids).items()
    }


@pytest.fixture
def items(ledger: Ledger) -> None:
    write(ledger, *map(item, "abcd"))


FIRST = {"a": {"b": 0.5, "c": -0.25}, "b": {"a": 1.0}, "c": {}, "d": {"a": 0.1, "b": 0.0}}


@pytest.mark.usefixtures("items")
def test_weights_are_kept_by_stable_positions(ledger: Ledger) -> None:
    assert ledger.taste.latest() == 0
    assert ledger.taste.positions(["a"]) == {}

    assert sorted(ledger.taste.replace(Model(FIRST))) == ["a", "b", "d"]

    assert weights_by_name(ledger, "a", "b", "c", "d", "nobody") == {
        "a": {"b": 0.5, "c": -0.25},
        "b": {"a": 1.0},
        "d": {"a": pytest.approx(0.1)},
    }
    vector = ledger.taste.weights(["a"])["a"]
    assert isinstance(vector, SparseVector)
    assert list(vector.positions) == sorted(vector.positions)
    before = ledger.taste.positions("abcd")
    assert len(set(before.values())) == 4
    write(ledger, item("e"))
    ledger.taste.replace(Model({"e": {"a": 1.0}, "a": {"e": 1.0}}))
    assert {k: v for k, v in ledger.taste.positions("abcde").items() if k != "e"} == before


@pytest.mark.usefixtures("items")
def test_only_what_changed_is_written_and_named(ledger: Ledger) -> None:
    ledger.taste.replace(Model(FIRST))
    stamp = ledger.taste.latest()
    assert stamp > 0
    slightly = FIRST | {"b": {"a": 1.0005}}

    assert ledger.taste.replace(Model(slightly)) == []
    assert ledger.taste.latest() == stamp
    changed = ledger.taste.replace(Model(FIRST | {"b": {"a": 1.01}, "c": {"d": 1.0}}))

    assert sorted(changed) == ["b", "c"]
    assert ledger.taste.changed(stamp, ledger.taste.latest()) == ["b", "c"]
    assert weights_by_name(ledger, "b", "c") == {"b": {"a": 1.01}, "c": {"d": 1.0}}


@pytest.mark.usefixtures("items")
def test_items_a_model_leaves_out_lose_their_weights_and_are_named(ledger: Ledger) -> None:
    ledger.taste.replace(Model(FIRST))

    assert sorted(ledger.taste.replace(Model({"b": {"d": 0.5}, "d": {"b": 0.5}}))) == ["a", "b", "d"]

    assert sorted(weights_by_name(ledger, *"abcd")) == ["b", "d"]


@pytest.mark.usefixtures("items")
def test_a_deleted_item_is_forgotten_at_once_and_no_training_brings_it_back(ledger: Ledger) -> None:
    ledger.taste.replace(Model(FIRST))

    delete(ledger, "a")

    assert "a" not in ledger.taste.weights("abcd")
    assert "a" not in ledger.taste.replace(Model(FIRST))
    assert "a" not in ledger.taste.weights("abcd")


@pytest.mark.usefixtures("items")
def test_how_far_a_generation_carries_the_weights_is_remembered(ledger: Ledger) -> None:
    assert ledger.taste.placed("one") == 0

    ledger.taste.note_placed("one", 5, known=["one"])
    ledger.taste.note_placed("two", 7, known=["one", "two"])
    assert (ledger.taste.placed("one"), ledger.taste.placed("two")) == (5, 7)
    ledger.taste.note_placed("two", 9, known=["two"])

    assert (ledger.taste.placed("one"), ledger.taste.placed("two")) == (0, 9)


def test_what_is_usual_is_kept(ledger):
    assert ledger.learned.usual() == Usual()
    found = Usual(values={"purchase": 2.5}, dwell_ms={"view": 9.0}, disliked={"rating": 1.5})
    ledger.learned.keep_usual(found)
    assert ledger.learned.usual() == found


def test_what_a_training_found_for_blends_is_kept(ledger):
    assert ledger.learned.blend() == BlendWeights()
    ledger.learned.keep_blend(BlendWeights(text=0.2, prior=0.1))
    ledger.learned.keep_blend(BlendWeights(text=0.4, prior=0.0))
    assert ledger.learned.blend() == BlendWeights(text=0.4, prior=0.0)
    ledger.learned.keep_blend(BlendWeights(text=0.4, fading=0.1))
    assert ledger.learned.blend() == BlendWeights(text=0.4, fading=0.1)


def test_the_items_of_a_generation_are_read_with_their_vectors(ledger: Ledger) -> None:
    begin(ledger, "one")
    write(ledger, *map(item, "abc"))
    place(ledger, ["b", "a"], "one")
    vector = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
    ledger.placements.keep_vectors("f" * 64, {"hash of a": vector})

    read = [pair for page in ledger.taste.texts("one", "f" * 64) for pair in page]

    assert [item_id for item_id, _ in read] == ["a", "b"]
    np.testing.assert_array_equal(read[0][1], vector)
    assert read[1][1] is None


def test_histories_are_read_whole_one_user_after_another(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_store, "PAGE", 3)
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert (list(ledger.events.histories()), ledger.events.present(VIEWS)) == ([], None)
    ledger.events.add([event("u2", "u", "b"), event("v1", "v", "a"), event("u1", "u", "a")])
    assert ledger.events.present(VIEWS) is None
    ledger.events.add([event(f"w{n}", "w", f"i{n}", timestamp=noon - timedelta(days=n)) for n in range(6)])

    found = [[one.event_id for one in history] for history in ledger.events.histories()]

    assert found == [["u2", "u1"], ["v1"], ["w5", "w4", "w3", "w2", "w1", "w0"]]
    assert [[e.event_id for e in h] for h in ledger.events.histories(most=2)][-1] == ["w1", "w0"]
    assert ledger.events.present(VIEWS) == noon


@pytest.mark.usefixtures("items")
def test_rarities_are_replaced_and_read_only_when_they_changed(ledger: Ledger) -> None:
    assert ledger.learned.rarities_since("") is None
    ledger.learned.keep_rarities({"a": 0.5, "b": 2.0, "nobody": 1.0})
    changed = ledger.learned.rarities_since("")
    assert changed is not None
    stamp, found = changed
    assert found == {"a": 0.5, "b": 2.0}
    ledger.learned.keep_rarities({"a": 0.5, "b": 2.0 + 1e-6})
    assert ledger.learned.rarities_since(stamp) is None
    ledger.learned.keep_rarities({"b": 3.0, "c": 1.0})
    changed = ledger.learned.rarities_since(stamp)
    assert changed is not None
    assert changed[1] == {"b": 3.0, "c": 1.0}


@pytest.mark.usefixtures("items")
def test_a_deleted_item_has_no_rarity(ledger: Ledger) -> None:
    ledger.learned.keep_rarities({"a": 0.5, "b": 2.0})
    delete(ledger, "a")
    changed = ledger.learned.rarities_since("")
    assert changed is not None
    assert changed[1] == {"b": 2.0}
