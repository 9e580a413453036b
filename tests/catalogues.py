"""Generated catalogues of several kinds, small enough to train on in a second: what a blend must hold up on.

Users have tastes over topics, items have one topic each and a drawn popularity; texts are noisy topics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from ingest.encoder.protocol import Vectors
from ingest.events import Event

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 60.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What makes a catalogue what it is."""

    items: int = 400
    users: int = 300
    topics: int = 12
    per_user: float = 18.0
    types: tuple[str, ...] = ("like",)
    text_noise: float | None = 2.0  # length of what a text adds to its topic; None: there are no texts
    timed: bool = True
    life_days: float | None = None  # how long items stay of interest; None: for ever
    skew: float = 1.0  # of popularity within a topic, as the power of a rank


KINDS = {
    "shop": Kind(),
    "news": Kind(life_days=2.0, users=500, per_user=14.0),
    "small": Kind(items=120, users=130, per_user=10.0, topics=6),
    "dense": Kind(items=200, users=300, per_user=60.0, topics=8),
    "views only": Kind(types=("view",)),
    "many kinds of events": Kind(types=("view", "click", "purchase", "rating", "skip")),
    "no texts": Kind(text_noise=None),
    "no times": Kind(timed=False),
    "no pattern but popularity": Kind(topics=1, skew=1.2, text_noise=None),
    "sparse": Kind(items=1_000, users=400, per_user=7.0, topics=30),
    "many users": Kind(items=500, users=4_000, per_user=30.0, topics=20),
    "long histories": Kind(items=800, users=250, per_user=200.0, topics=20),
}


def drawn(kind: Kind, seed: int = 1) -> tuple[list[str], Vectors, list[list[Event]]]:
    """Item ids, text vectors `(items, 16)` and one history per user."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, kind.topics, kind.items)
    appeal = rng.permutation(kind.items).astype(np.float64) + 1
    appeal = appeal**-kind.skew
    born = rng.uniform(-5, DAYS, kind.items) if kind.life_days else np.full(kind.items, -1.0)
    histories = [_history(kind, f"u{user}", topic, appeal, born, rng) for user in range(kind.users)]
    return [f"i{n}" for n in range(kind.items)], _texts(kind, topic, rng), [h for h in histories if h]


def _history(
    kind: Kind,
    user: str,
    topic: np.ndarray,
    appeal: np.ndarray,
    born: np.ndarray,
    rng: np.random.Generator,
) -> list[Event]:
    taste = rng.dirichlet(np.full(kind.topics, 0.15)) * 0.9 + 0.1 / kind.topics
    met: dict[int, float] = {}
    for day in np.sort(rng.uniform(0, DAYS, rng.poisson(kind.per_user) + 2)):
        weight = taste[topic] * appeal
        if kind.life_days:
            age = day - born
            weight = np.where(age >= 0, weight * 0.5 ** (age / kind.life_days), 0.0)
        weight[list(met)] = 0.0
        if weight.sum() > 0:
            met[int(rng.choice(len(weight), p=weight / weight.sum()))] = float(day)
    return [_event(kind, user, item, day, taste[topic[item]], rng) for item, day in met.items()]


def _event(kind: Kind, user: str, item: int, day: float, liking: float, rng: np.random.Generator) -> Event:
    type_ = str(rng.choice(kind.types))
    if type_ == "skip" and liking > 0.2:
        type_ = "view"
    value = float(np.clip(np.round(2.5 + 3 * liking + rng.normal()), 1, 5)) if type_ == "rating" else None
    timestamp = START + timedelta(days=day) if kind.timed else None
    return Event(
        event_id=f"{user}-{item}", user_id=user, item_id=f"i{item}", type=type_, value=value, timestamp=timestamp
    )


def _texts(kind: Kind, topic: np.ndarray, rng: np.random.Generator) -> Vectors:
    if kind.text_noise is None:
        return np.zeros((kind.items, 0), dtype=np.float32)
    centres = rng.normal(size=(kind.topics, 16))
    vectors = centres[topic] + kind.text_noise * rng.normal(size=(kind.items, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def times(histories: Sequence[Sequence[Event]]) -> list[datetime]:
    """The times of all events, in order."""
    return sorted(event.timestamp for history in histories for event in history if event.timestamp)
