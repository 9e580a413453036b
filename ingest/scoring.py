"""The arithmetic of scores that training tunes and queries use: written once, so that both mean the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.settings import Settings

_LEAST_NORM = 1e-12
MOST_RANKED = 100_000  # events; more of them change no rank

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BlendWeights:
    """What text and recent popularity count: beside the taste score, and in `interests` beside the text score.

    Popularity is recent by `half_life_days`: an event counts half so many days before the present (`present_time`).
    `fading` is how quickly the history of a user fades (`ingest.weights.profile_weights`).
    """

    text: float = 0.04
    prior: float = 0.0
    interests_prior: float = 0.0
    half_life_days: float = 14.0
    fading: float = 0.0

    def under(self, settings: Settings) -> "BlendWeights":
        """The same with what the settings fix in the place of what was learned."""
        fixed = {
            "text": settings.blend_text,
            "prior": settings.blend_prior,
            "interests_prior": settings.interests_prior,
            "half_life_days": settings.prior_half_life_days,
            "fading": settings.history_fading,
        }
        return replace(self, **{name: value for name, value in fixed.items() if value is not None})


def all_fixed(settings: Settings) -> bool:
    """Whether the settings say what everything counts, so that there is nothing to learn of it."""
    said = (
        settings.blend_text,
        settings.blend_prior,
        settings.interests_prior,
        settings.prior_half_life_days,
        settings.history_fading,
        settings.taste_fading,
    )
    return None not in said


def text_parts(items: NDArray[np.floating], history: NDArray[np.floating], weights: Scores) -> Scores:
    """Each past event's part of each item's text score, `(n, h)`; a row adds up to the score.

    `w_e max(cos(v_e, v_i), 0)^3 / |w|` over unit vectors `items (n, d)` and `history (h, d)`: a soft top-k, in which
    what is near to one past item is not held back by its distance to the others. The length of the weights keeps the
    scores of short and long histories alike.
    """
    length = max(float(np.linalg.norm(weights)), _LEAST_NORM)
    return np.asarray(nearness(items, history) * (weights / length))


def nearness(items: NDArray[np.floating], history: NDArray[np.floating]) -> Scores:
    """`max(cos, 0)^3` between unit vectors `(n, d)` and `(h, d)`: `(n, h)`."""
    cosines = np.maximum(np.asarray(items @ history.T, dtype=np.float64), 0.0)
    return np.asarray(cosines * cosines * cosines)  # a power would be forty times slower


def text_scores(items: NDArray[np.floating], history: NDArray[np.floating], weights: Scores) -> NDArray[np.float32]:
    """The sums of the same in single precision, `(n,)`: enough to rank by, and quick over a whole catalogue."""
    length = max(float(np.linalg.norm(weights)), _LEAST_NORM)
    near = np.maximum(items @ history.T, 0.0)
    return np.asarray((near * near * near) @ (weights / length).astype(np.float32), dtype=np.float32)


def present_rank(events: int) -> int:
    """Which of so many positive events, counted from the newest, `present_time` goes by: the hundredth part."""
    return min(max(events, 100), MOST_RANKED) // 100


def present_time(newest: float, ranked: float, twice: float) -> float:
    """What time it is where age counts, from the newest positive event and those at `present_rank` and twice that.

    As long after the one as it is after the other, and not after the newest: in a steady stream that is the newest. By
    the newest alone, one event after a pause (the first click after a history was imported) would make everything
    before it old, and its own item the most popular by far.
    """
    return min(newest, 2 * ranked - twice)


def present_among(newest_first: Scores) -> float:
    """The same of the times of all positive events, -inf for one without; -inf where that is the present's."""
    rank = present_rank(len(newest_first))
    if rank > len(newest_first):
        return -math.inf
    newest, ranked = float(newest_first[0]), float(newest_first[rank - 1])
    twice = float(newest_first[2 * rank - 1]) if 2 * rank <= len(newest_first) else -math.inf
    return present_time(newest, ranked, twice) if math.isfinite(twice) else ranked


def popularity_steps(half_life_days: float) -> tuple[float, int]:
    """How finely recent popularity is counted: a step in days, and how many of them, over eight half-lives.

    Whole days, or eighths of a half-life that is shorter than eight days. Somebody counts once for an item and step.
    """
    step = min(1.0, half_life_days / 8)
    return step, round(8 * half_life_days / step)


def priors(counts: Mapping[str, float]) -> dict[str, float]:
    """Popularity in 0..1 by item: `log(1 + count) / log(1 + largest count)`."""
    values = popularity(np.fromiter(counts.values(), np.float64, len(counts)))
    return dict(zip(counts, values.tolist(), strict=True)) if values.any() else {}


def popularity(counts: Scores) -> Scores:
    """The same of an array."""
    most = float(np.log1p(counts.max(initial=0.0)))
    return np.log1p(counts) / most if most > 0 else np.zeros_like(counts)
