"""What an evaluation found, as records and as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SORT_BY = "ndcg@10"
DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over users and its 95 % interval; NaN where no user could be measured."""

    mean: float
    low: float
    high: float


Measures = Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The measures over a part of what was asked."""

    users: int
    measures: Measures


@dataclass(frozen=True, kw_only=True)
class StrategyResult:
    """How one strategy did. `coverage` is a share of the catalogue by cutoff, and has no interval."""

    name: str
    is_akin: bool
    measures: Measures
    coverage: Mapping[str, float]
    slices: Mapping[str, Slice]
    note: str = ""  # what has to be known of how it was fitted

    def as_json(self) -> dict[str, Any]:
        """Plain values, the interval of a measure under its name with `_low` and `_high`."""
        slices = {name: {"users": part.users, **_flat(part.measures)} for name, part in self.slices.items()}
        coverage = {name: round(value, DIGITS) for name, value in self.coverage.items()}
        note = {"note": self.note} if self.note else {}
        return {"akin": self.is_akin, **note, **_flat(self.measures), **coverage, "slices": slices}


@dataclass(frozen=True, kw_only=True)
class Report:
    """One evaluation: what was asked, of whom, and every strategy's result, best first."""

    split: str
    split_description: str
    users: int
    items: int
    train_events: int
    held_out: int
    seed: int
    slices: Mapping[str, str]  # what each slice holds, in words
    notes: tuple[str, ...]
    strategies: tuple[StrategyResult, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines; what could not be measured is null."""
        return {
            "split": self.split,
            "split_description": self.split_description,
            "users": self.users,
            "items": self.items,
            "train_events": self.train_events,
            "held_out": self.held_out,
            "seed": self.seed,
            "slices": dict(self.slices),
            "notes": list(self.notes),
            "strategies": {result.name: result.as_json() for result in self.strategies},
        }


def best_first(results: list[StrategyResult]) -> tuple[StrategyResult, ...]:
    """Sorted by nDCG@10, ties by name."""
    return tuple(sorted(results, key=lambda result: (-result.measures[SORT_BY].mean, result.name)))


def _flat(measures: Measures) -> dict[str, float | None]:
    flat = {}
    for name, estimate in measures.items():
        flat[name] = _rounded(estimate.mean)
        flat[f"{name}_low"] = _rounded(estimate.low)
        flat[f"{name}_high"] = _rounded(estimate.high)
    return flat


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)
