"""How far an item's text stands apart from others: what is like everything says little about anybody's taste.

In many dimensions some points are among the nearest of very many others (hubs: Radovanovic, Nanopoulos and Ivanovic
2010). Dividing by how near an item's own neighbours are evens that out (local scaling: Zelnik-Manor and Perona 2004;
Schnitzer and others 2012). docs/decisions/0027 has what it gains.
"""

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.protocol import Vectors
from ingest.scoring import Scores

NEIGHBOURS = 20
EXPONENT = 1.5
_LEAST = 0.05  # nearer to 0 a mean cosine is noise
_BLOCK = 512  # rows at a time: 41 MB of float32 at 20,000 items


def rarities(vectors: Vectors) -> Scores:
    """`(median crowding / crowding) ^ 1.5` of each row of `(n, d)` unit vectors: `(n,)`; 1 for rows of zeros.

    Crowding is the mean cosine of the 20 nearest others, taken as 0.05 at least. Time grows with n^2: some seconds at
    10,000 rows of 384.
    """
    found = np.ones(len(vectors))
    rows = np.flatnonzero(np.any(vectors != 0, axis=1))
    if len(rows) > 1:
        crowding = np.maximum(_crowding(vectors[rows]), _LEAST)
        found[rows] = (np.median(crowding) / crowding) ** EXPONENT
    return found


def _crowding(vectors: Vectors) -> NDArray[np.float32]:
    k = min(NEIGHBOURS, len(vectors) - 1)
    found = np.empty(len(vectors), np.float32)
    for first in range(0, len(vectors), _BLOCK):
        cosines = vectors[first : first + _BLOCK] @ vectors.T
        own = np.arange(len(cosines))
        cosines[own, first + own] = -np.inf
        cosines.partition(len(vectors) - k, axis=1)
        found[first : first + _BLOCK] = cosines[:, -k:].mean(axis=1)
    return found
