"""What a new generation must prove: complete, few set aside, findable, and not worse than the live one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ingest.gate import Evaluation, Verdict, judge, recall
from ingest.index.protocol import Hit, Query
from ingest.items import Item
from ingest.store.records import Generation
from tests.fakes import HashingEncoder, Installation, installation


@dataclass(frozen=True, kw_only=True)
class Measured:
    by_text: Mapping[str, float]
    by_taste: Mapping[str, float] = field(default_factory=dict)


def alike(gain: float, users: int = 100) -> dict[str, float]:
    return {f"user{n}": gain for n in range(users)}


def drawn(share: float, seed: int, users: int = 200) -> dict[str, float]:
    """Gains as they are: a few users find what is sought, in any of the ten places, and most do not."""
    random = Random(seed)
    return {f"user{n}": 1 / math.log2(random.randint(2, 11)) * (random.random() < share) for n in range(users)}


class Worse:
    """A collection that loses some of what approximate search finds, or miscounts."""

    def __init__(self, collection: Any, *, dropped: int = 0, lost: int = 0) -> None:
        self._collection = collection
        self._dropped = dropped
        self._lost = lost

    def query(self, query: Query) -> list[Hit]:
        hits: list[Hit] = self._collection.query(query)
        return hits if query.exact else hits[self._dropped :]

    def count(self) -> int:
        return int(self._collection.count()) - self._lost

    def ids(self) -> Sequence[str]:
        return list(self._collection.ids())

    def vectors(self, item_ids: Sequence[str]) -> Any:
        return self._collection.vectors(item_ids)


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    """A live generation and a next one, 30 items in both."""
    with installation(tmp_path) as made:
        made.add_items([Item(item_id=f"i{n}", text=f"{'red' if n % 2 else 'blue'} text number {n}") for n in range(30)])
        made.begin_next("next", HashingEncoder())
        yield made


def judged(
    akin: Installation, *, collection: Any = None, ndcg: dict[str, Evaluation] | None = None, **changed: Any
) -> Verdict:
    candidate = akin.ledger.generations.get("next")

    def evaluate(generation: Generation) -> Evaluation:
        return (ndcg or {}).get(generation.name, Measured(by_text=alike(0.5), by_taste=alike(0.5)))

    settings = akin.settings.model_copy(update=changed)
    return judge(settings, akin.ledger, candidate, collection or akin.index.open("next"), evaluate)


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_a_complete_generation_passes(akin: Installation) -> None:
    verdict = judged(akin)

    assert verdict.passed
    assert [check.name for check in verdict.checks] == [
        "item_count",
        "failed_share",
        "ann_recall_at_10",
        "ndcg_at_10",
        "taste_ndcg_at_10",
    ]
    report = verdict.report()
    assert report["passed"] is True
    assert report["checks"][0] == {
        "name": "item_count",
        "passed": True,
        "value": 30,
        "rule": "the record has 30 items, 0 of them on their way",
    }


@pytest.mark.parametrize("lost", [1, -1])
def test_another_count_than_the_record_is_refused(akin: Installation, lost: int) -> None:
    verdict = judged(akin, collection=Worse(akin.index.open("next"), lost=lost))

    assert failed(verdict) == ["item_count"]
    assert not verdict.passed


def test_writes_on_their_way_are_allowed_for(akin: Installation) -> None:
    akin.delete_items(["i1"], place=False)

    assert judged(akin).passed


def test_approximate_search_that_misses_too_much_is_refused(akin: Installation) -> None:
    worse = Worse(akin.index.open("next"), dropped=2)

    assert failed(judged(akin, collection=worse)) == ["ann_recall_at_10"]
    assert judged(akin, collection=worse, gate_recall=0.75).passed


def test_recall_is_the_share_of_the_exact_neighbours_that_are_found(akin: Installation) -> None:
    collection = akin.index.open("next")

    assert recall(collection, ["i1", "i2"]) == 1.0
    assert recall(Worse(collection, dropped=3), ["i1", "i2"]) == pytest.approx(0.7)
    assert recall(collection, []) == 1.0


def test_another_item_of_the_same_score_is_no_miss(tmp_path: Path) -> None:
    with installation(tmp_path) as akin:
        akin.add_items([Item(item_id=f"i{n:03}", text="all the same") for n in range(100)])

        assert recall(akin.index.open("first"), ["i000", "i050"]) == 1.0


@pytest.mark.parametrize(
    ("candidate", "live", "passes"),
    [(0.5, 0.5, True), (0.46, 0.5, True), (0.44, 0.5, False), (0.6, 0.5, True), (0.0, 0.0, True)],
)
def test_worse_recommendations_than_the_live_generation_are_refused(
    akin: Installation, candidate: float, live: float, passes: bool
) -> None:
    verdict = judged(akin, ndcg={"next": Measured(by_text=alike(candidate)), "first": Measured(by_text=alike(live))})

    assert failed(verdict) == ([] if passes else ["ndcg_at_10"])


def test_a_generation_without_the_weights_of_the_live_one_is_refused(akin: Installation) -> None:
    both = alike(0.5)
    ndcg = {"next": Measured(by_text=both, by_taste=alike(0.0)), "first": Measured(by_text=both, by_taste=alike(0.3))}

    assert failed(judged(akin, ndcg=ndcg)) == ["taste_ndcg_at_10"]


def test_what_chance_makes_of_equally_good_generations_refuses_few(akin: Installation) -> None:
    verdicts = [
        judged(akin, ndcg={"next": Measured(by_text=drawn(0.2, n)), "first": Measured(by_text=drawn(0.2, n + 1_000))})
        for n in range(100)
    ]

    assert sum(not verdict.passed for verdict in verdicts) <= 5


def test_half_as_good_a_generation_is_refused_though_most_find_nothing_by_either(akin: Installation) -> None:
    live = drawn(0.2, 1)
    half = {user: gain * (n % 2) for n, (user, gain) in enumerate(live.items())}

    verdict = judged(akin, ndcg={"next": Measured(by_text=half), "first": Measured(by_text=live)})

    assert failed(verdict) == ["ndcg_at_10"]


def test_few_users_decide_nothing(akin: Installation) -> None:
    verdict = judged(akin, ndcg={"next": Measured(by_text=alike(0.0, 19)), "first": Measured(by_text=alike(0.9, 19))})

    assert verdict.passed
    assert "19 users" in verdict.checks[-2].rule


def test_a_first_generation_is_not_compared(tmp_path: Path) -> None:
    with installation(tmp_path, live=False) as akin:
        generation = akin.begin_next("next", HashingEncoder())

        def never(_: Generation) -> Evaluation:
            raise AssertionError("there is nothing to compare with")

        assert judge(akin.settings, akin.ledger, generation, akin.index.open("next"), never).passed


def set_aside(akin: Installation, *item_ids: str) -> None:
    claim = akin.ledger.pending.claim(item_ids, lease="l", seconds=60)
    akin.ledger.pending.put_aside(claim, dict.fromkeys(item_ids, "why"))


def test_too_many_items_set_aside_are_refused(tmp_path: Path) -> None:
    # given 2 of 40 items that could never be placed
    with installation(tmp_path) as akin:
        akin.add_items([Item(item_id=f"i{n}", text=f"text {n}") for n in range(38)])
        akin.begin_next("next", HashingEncoder())
        akin.reconciler.reconcile([])
        for bad in ("bad", "bad too"):
            akin.ledger.items.write([Item(item_id=bad, text=bad)], job_id="j", revive=False, due_in=60)
        set_aside(akin, "bad", "bad too")

        # then the count is right without them, and their share is what is refused
        assert failed(judged(akin)) == ["failed_share"]
        assert judged(akin, gate_failed_share=0.05).passed


def test_an_item_whose_last_change_was_set_aside_may_stand_there_as_it_was(akin: Installation) -> None:
    # given an item that stands in the generation, and a change of it that cannot be placed
    akin.ledger.items.write([Item(item_id="i3", text="cannot be embedded")], job_id="j", revive=False, due_in=60)
    set_aside(akin, "i3")

    assert judged(akin, gate_failed_share=0.1).passed
