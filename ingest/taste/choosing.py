"""Which of several choices is best on what cuts hold out, and when that is more than chance."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_SAMPLE = 50  # users; fewer cannot tell
SURE = 2.0  # standard errors: the best of many choices is better than the present one by luck, too
FAIRLY_SURE = 1.0


def surely_best(cuts: Sequence[NDArray[np.float64]], errors: float) -> int:
    """Which column of each cut's `(users, choices)` gains is best of those that surely beat the first; else 0.

    Surely is by more than so many standard errors. Best is the harmonic mean over the cuts: what answers one question
    well and the other badly is not chosen for it.
    """
    sure = -_behind(cuts, 0) > errors * _error(cuts, 0)
    sure[0] = True
    return int(np.argmin(np.where(sure, _effort(cuts), np.inf)))


def best_of(cuts: Sequence[NDArray[np.float64]]) -> int:
    """Which column is best, by chance or not."""
    return int(np.argmin(_effort(cuts)))


def least_of_the_best(cuts: Sequence[NDArray[np.float64]], best: int) -> int:
    """The first column that is behind the best by no more than one standard error.

    Of what cannot be told apart the choice that does least is safest (as in Breiman and others, Classification and
    Regression Trees, 1984).
    """
    return int(np.argmax(_behind(cuts, best) <= _error(cuts, best)))


def _effort(cuts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The inverse of the harmonic mean over the cuts, but for a factor."""
    means = [scaled.mean(axis=0) for scaled in _scaled(cuts)]
    return np.asarray(np.sum([1.0 / np.maximum(mean, 1e-12) for mean in means], axis=0))


def _scaled(cuts: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """In units of the best mean, so that the cut that is harder to guess counts as much as the other."""
    return [gains / max(float(gains.mean(axis=0).max()), 1e-12) for gains in cuts]


def _behind(cuts: Sequence[NDArray[np.float64]], column: int) -> NDArray[np.float64]:
    """How much less each column gains than this one, in the mean of the cuts."""
    less = [(scaled[:, [column]] - scaled).mean(axis=0) for scaled in _scaled(cuts)]
    return np.asarray(np.mean(less, axis=0))


def _error(cuts: Sequence[NDArray[np.float64]], column: int) -> NDArray[np.float64]:
    """The standard error of that."""
    variances = [(scaled[:, [column]] - scaled).var(axis=0, ddof=1) / len(scaled) for scaled in _scaled(cuts)]
    return np.asarray(np.sqrt(np.sum(variances, axis=0)) / len(cuts))
