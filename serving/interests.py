"""What a history is about, as a few of its own items: one mean vector blurs mixed tastes."""

import numpy as np
from numpy.typing import NDArray

from ingest.index.protocol import Vector
from ingest.scoring import nearness

MOST = 8
_LEAST_GAIN = 1e-6  # of the whole: what adds less is a copy of what is there


def exemplars(vectors: NDArray[np.float32], weights: NDArray[np.float64]) -> list[int]:
    """Rows of `(h, d)` unit vectors that stand for the liked part of a history, eight at most, the most telling first.

    Each is the one that adds most to `sum_e w_e max_r near(e, r)`, with `near` as in the text score: the greedy way to
    place facilities, whose sum is at least 63 % of the best (Cornuejols, Fisher and Nemhauser 1977). Equal histories
    give equal rows.
    """
    liked = np.flatnonzero(weights > 0)
    near = nearness(vectors[liked], vectors[liked])
    worth = weights[liked]
    covered = np.zeros(len(liked))
    rows: list[int] = []
    while len(rows) < min(MOST, len(liked)):
        gains = worth @ np.maximum(near - covered[:, np.newaxis], 0.0)
        best = int(np.argmax(gains))
        if gains[best] <= _LEAST_GAIN * worth.sum():
            break
        covered = np.maximum(covered, near[:, best])
        rows.append(int(liked[best]))
    return rows


def anchors(mean: Vector, vectors: NDArray[np.float32], weights: NDArray[np.float64]) -> list[Vector]:
    """The vectors to ask an index for candidates by: the mean, then the items that stand for the history."""
    return [mean, *(vectors[row] for row in exemplars(vectors, weights))]
