"""What a history is about, as a few of its own items: one mean vector blurs mixed tastes."""

import numpy as np
from numpy.typing import NDArray

from ingest.index.protocol import Vector

MOST = 5
_EVENTS_EACH = 3  # a history of so many liked items gets one interest, twice as many get two


def medoids(vectors: NDArray[np.float32], weights: NDArray[np.float64]) -> list[int]:
    """Rows of `(h, d)` unit vectors that stand for the positive part of a history, at most five, strongest first.

    Centres are chosen farthest first from the strongest (Gonzalez 1985), every row joins its nearest centre, and each
    group is stood for by the row most alike to the rest of it. Equal histories give equal rows.
    """
    liked = np.flatnonzero(weights > 0)
    if not liked.size:
        return []
    cosines = vectors[liked] @ vectors[liked].T
    centres = [int(np.argmax(weights[liked]))]
    while len(centres) < min(MOST, -(-len(liked) // _EVENTS_EACH)):
        centres.append(int(np.argmin(cosines[:, centres].max(axis=1))))
    nearest = np.argmax(cosines[:, centres], axis=1)
    found = []
    for group in range(len(centres)):
        members = np.flatnonzero(nearest == group)
        if members.size:  # a centre that equals another has no rows of its own
            inner = cosines[np.ix_(members, members)] @ weights[liked][members]
            found.append((float(weights[liked][members].sum()), int(liked[members[int(np.argmax(inner))]])))
    return [row for _, row in sorted(found, key=lambda pair: (-pair[0], pair[1]))]


def anchors(mean: Vector, vectors: NDArray[np.float32], weights: NDArray[np.float64]) -> list[Vector]:
    """The vectors to ask an index for candidates by: the mean, then each interest's medoid."""
    return [mean, *(vectors[row] for row in medoids(vectors, weights))]
