"""The gate: what a new generation must prove before it goes live."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ingest.index.protocol import Collection, Query
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation

RECALL_SAMPLE = 100
RECALL_AT = 10
LEAST_USERS = 20  # with fewer, one user's luck would decide over the nDCG
SURE = 2.0  # standard errors by which a generation has to be worse than it may
SCORE_TIE = 1e-5


class Evaluation(Protocol):
    """How well a generation finds what the most recent users liked last: nDCG@10 by user."""

    @property
    def by_text(self) -> Mapping[str, float]:
        """By the mean of each history."""
        ...

    @property
    def by_taste(self) -> Mapping[str, float]:
        """By item-item weights, of those whose histories have some."""
        ...


Evaluate = Callable[[Generation], Evaluation]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question and its answer; `rule` says in words which values pass."""

    name: str
    passed: bool
    value: float
    rule: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All checks of one judgement."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def report(self) -> Mapping[str, Any]:
        """As JSON, for the generation's report."""
        return {
            "passed": self.passed,
            "checks": [
                {"name": c.name, "passed": c.passed, "value": round(c.value, 6), "rule": c.rule} for c in self.checks
            ],
        }


def judge(
    settings: Settings,
    ledger: Ledger,
    candidate: Generation,
    collection: Collection,
    evaluate: Evaluate,
) -> Verdict:
    """Judge a generation that has caught up. Writes may go on meanwhile; what they leave pending is allowed for."""
    items = ledger.items.count()
    aside = [one.item_id for one in ledger.pending.set_aside(limit=items + 1)]
    as_before = sum(p.present for p in ledger.placements.of(candidate.name, aside).values())
    checks = [
        _count(collection.count(), items - len(aside) + as_before, slack=ledger.pending.count()),
        _failed(len(aside), items, settings.gate_failed_share),
        _recall(collection, settings.gate_recall),
    ]
    live = ledger.generations.live()
    if live is not None and live.name != candidate.name:
        found, standing = evaluate(candidate), evaluate(live)
        checks.append(_ndcg("ndcg_at_10", found.by_text, standing.by_text, settings.gate_ndcg_margin))
        checks.append(_ndcg("taste_ndcg_at_10", found.by_taste, standing.by_taste, settings.gate_ndcg_margin))
    return Verdict(checks=tuple(checks))


def recall(collection: Collection, sample: Sequence[str], k: int = RECALL_AT) -> float:
    """Mean share of the exact k nearest that approximate search finds, with stored vectors as queries.

    A found item that scores as high as the exact k-th counts, whichever of the tied items it is.
    """
    vectors = collection.vectors(sample)
    if not vectors:
        return 1.0
    shares = []
    for vector in vectors.values():
        exact = collection.query(Query(text=vector, limit=k, exact=True))
        found = collection.query(Query(text=vector, limit=k))
        floor = exact[-1].score - SCORE_TIE
        shares.append(min(1.0, sum(hit.score >= floor for hit in found) / len(exact)))
    return sum(shares) / len(shares)


def _count(points: int, expected: int, slack: int) -> Check:
    rule = f"the record has {expected} items, {slack} of them on their way"
    return Check(name="item_count", passed=abs(points - expected) <= slack, value=points, rule=rule)


def _failed(aside: int, items: int, most: float) -> Check:
    share = aside / items if items else 0.0
    return Check(name="failed_share", passed=share <= most, value=share, rule=f"at most {most}")


def _recall(collection: Collection, least: float) -> Check:
    # Spread over the ids rather than drawn at random: the same index gets the same judgement twice.
    ids = sorted(collection.ids())
    step = max(1, len(ids) // RECALL_SAMPLE)
    value = recall(collection, ids[::step][:RECALL_SAMPLE])
    return Check(name="ann_recall_at_10", passed=value >= least, value=value, rule=f"at least {least}")


def _ndcg(name: str, candidate: Mapping[str, float], live: Mapping[str, float], margin: float) -> Check:
    """Whether the candidate is not surely worse, user by user, than the live generation less the margin."""
    users = sorted(candidate.keys() & live.keys())
    found, standing = (np.array([gains[user] for user in users]) for gains in (candidate, live))
    value = float(found.mean()) if users else 0.0
    if len(users) < LEAST_USERS:
        rule = f"not asked: {len(users)} users with enough events, {LEAST_USERS} are needed"
        return Check(name=name, passed=True, value=value, rule=rule)
    lost = standing * (1 - margin) - found
    chance = SURE * float(lost.std(ddof=1)) / len(users) ** 0.5
    rule = (
        f"not surely worse than {(1 - margin) * standing.mean():.4f}, the live generation's {standing.mean():.4f} less "
        f"{margin:.0%}: chance explains {chance:.4f} among {len(users)} users"
    )
    return Check(name=name, passed=float(lost.mean()) <= chance, value=value, rule=rule)
