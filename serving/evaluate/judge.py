"""From one strategy's lists to its result: the same measures for all users, and for the slices of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ingest.index.protocol import Vector
from serving.evaluate.metrics import (
    EMPTY,
    Floats,
    Integers,
    bootstrap,
    coverage,
    diversity,
    ndcg,
    novelty,
    recall,
    reciprocal_rank,
)
from serving.evaluate.report import Estimate, Measures, Slice, StrategyResult
from serving.evaluate.trial import Trial

CUTOFFS = (10, 20)
LONGEST = max(CUTOFFS)
COLD_USER_EVENTS = 5
MOST_ASKED_FOR_COLD = 500
SLICES = ("cold items", "cold items alone", "cold users", "short histories", "long histories")


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What one strategy answered, `(users, 20)` places each: of all items, and of the cold ones where those were asked.

    Rows of `cold` are EMPTY for users who were not asked; None: nobody was.
    """

    whole: Integers
    cold: Integers | None = None


def judge(
    name: str, lists: Lists, trial: Trial, vectors: Mapping[int, Vector], *, is_akin: bool, note: str = ""
) -> StrategyResult:
    """Measure a strategy's lists. `vectors` are the unit text vectors of the items in them."""
    estimate = partial(_estimates, seed=trial.seed)
    beyond = _beyond_accuracy(lists.whole, trial, vectors)
    slices = {}
    for part, (users, relevant) in slice_members(trial).items():
        asked = lists.cold if part == SLICES[1] else lists.whole
        counted = users[:0] if asked is None else users
        values = _accuracy((lists.whole if asked is None else asked)[counted], [relevant[user] for user in counted])
        slices[part] = Slice(users=len(counted), measures=estimate(values))
    return StrategyResult(
        name=name,
        is_akin=is_akin,
        measures=estimate(_accuracy(lists.whole, trial.relevant) | beyond),
        coverage={f"coverage@{k}": coverage(lists.whole[:, :k], len(trial.items)) for k in CUTOFFS},
        slices=slices,
        note=note,
    )


def asked_for_cold(trial: Trial) -> Integers:
    """The users who are asked a second time, for cold items alone."""
    return slice_members(trial)[SLICES[1]][0]


def slice_members(trial: Trial) -> Mapping[str, tuple[Integers, Sequence[Integers]]]:
    """By slice, the users in it and what is relevant to every user there."""
    cold = tuple(places[trial.audience[places] == 0] for places in trial.relevant)
    middle = np.median(trial.events)
    seekers = np.flatnonzero([len(places) > 0 for places in cold])
    return {
        SLICES[0]: (seekers, cold),
        SLICES[1]: (seekers[:MOST_ASKED_FOR_COLD], cold),
        SLICES[2]: (np.flatnonzero(trial.events < COLD_USER_EVENTS), trial.relevant),
        SLICES[3]: (np.flatnonzero(trial.events <= middle), trial.relevant),
        SLICES[4]: (np.flatnonzero(trial.events > middle), trial.relevant),
    }


def slice_descriptions(trial: Trial) -> Mapping[str, str]:
    """What each slice holds, in words."""
    middle = f"{np.median(trial.events):g}"
    return {
        SLICES[0]: "all items are ranked; only held-out ones without a training event count, and only users with such",
        SLICES[1]: "the same sought, and only items without a training event ranked",
        SLICES[2]: f"users with fewer than {COLD_USER_EVENTS} training events",
        SLICES[3]: f"users with at most {middle} training events, the median",
        SLICES[4]: f"users with more than {middle} training events",
    }


def _accuracy(lists: Integers, relevant: Sequence[Integers]) -> dict[str, Floats]:
    found = [np.isin(places, sought) & (places != EMPTY) for places, sought in zip(lists, relevant, strict=True)]
    hits = np.array(found, dtype=np.bool_).reshape(lists.shape)
    counts = np.array([len(sought) for sought in relevant], dtype=np.int64)
    values: dict[str, Floats] = {}
    for k in CUTOFFS:
        values[f"ndcg@{k}"] = ndcg(hits[:, :k], counts)
        values[f"recall@{k}"] = recall(hits[:, :k], counts)
        values[f"mrr@{k}"] = reciprocal_rank(hits[:, :k])
    return values


def _beyond_accuracy(lists: Integers, trial: Trial, vectors: Mapping[int, Vector]) -> dict[str, Floats]:
    values: dict[str, Floats] = {}
    for k in CUTOFFS:
        shown = lists[:, :k]
        spread = [diversity([vectors[place] for place in places if place in vectors]) for places in shown.tolist()]
        values[f"novelty@{k}"] = novelty(shown, trial.share)
        values[f"diversity@{k}"] = np.array(spread, dtype=np.float64)
    return values


def _estimates(values: Mapping[str, Floats], *, seed: int) -> Measures:
    table = np.stack(list(values.values()), axis=1)
    if np.isnan(table).all(axis=0).any() or not len(table):
        known = {name: column for name, column in values.items() if not np.isnan(column).all()}
        unknown = dict.fromkeys(values.keys() - known.keys(), Estimate(mean=np.nan, low=np.nan, high=np.nan))
        measured = _estimates(known, seed=seed) if known else {}
        return {name: measured.get(name) or unknown[name] for name in values}
    low, high = bootstrap(table, seed=seed)
    return {
        name: Estimate(mean=float(np.nanmean(column)), low=float(low[place]), high=float(high[place]))
        for place, (name, column) in enumerate(values.items())
    }
