"""From one strategy's lists to its result: the same measures for all users, and for the slices of them."""

from collections.abc import Mapping, Sequence
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
SLICES = ("cold items", "cold users", "short histories", "long histories")


def judge(name: str, lists: Integers, trial: Trial, vectors: Mapping[int, Vector], *, is_akin: bool) -> StrategyResult:
    """Measure `(users, 20)` lists of places. `vectors` are the unit text vectors of the items in the lists."""
    estimate = partial(_estimates, seed=trial.seed)
    beyond = _beyond_accuracy(lists[:, : CUTOFFS[0]], trial, vectors)
    slices = {}
    for part, (users, relevant) in slice_members(trial).items():
        values = _accuracy(lists[users], [relevant[user] for user in users])
        slices[part] = Slice(users=len(users), measures=estimate(values))
    return StrategyResult(
        name=name,
        is_akin=is_akin,
        measures=estimate(_accuracy(lists, trial.relevant) | beyond),
        coverage={f"coverage@{k}": coverage(lists[:, :k], len(trial.items)) for k in CUTOFFS},
        slices=slices,
    )


def slice_members(trial: Trial) -> Mapping[str, tuple[Integers, Sequence[Integers]]]:
    """By slice, the users in it and what is relevant to every user there."""
    cold = tuple(places[trial.audience[places] == 0] for places in trial.relevant)
    middle = np.median(trial.events)
    return {
        SLICES[0]: (np.flatnonzero([len(places) > 0 for places in cold]), cold),
        SLICES[1]: (np.flatnonzero(trial.events < COLD_USER_EVENTS), trial.relevant),
        SLICES[2]: (np.flatnonzero(trial.events <= middle), trial.relevant),
        SLICES[3]: (np.flatnonzero(trial.events > middle), trial.relevant),
    }


def slice_descriptions(trial: Trial) -> Mapping[str, str]:
    """What each slice holds, in words."""
    middle = f"{np.median(trial.events):g}"
    return {
        SLICES[0]: "only held-out items without a training event count, and only users who have one",
        SLICES[1]: f"users with fewer than {COLD_USER_EVENTS} training events",
        SLICES[2]: f"users with at most {middle} training events, the median",
        SLICES[3]: f"users with more than {middle} training events",
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
    spread = [diversity([vectors[place] for place in places if place in vectors]) for places in lists.tolist()]
    return {
        f"novelty@{CUTOFFS[0]}": novelty(lists, trial.share),
        f"diversity@{CUTOFFS[0]}": np.array(spread, dtype=np.float64),
    }


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
