"""Keeping only the strongest weights of each item."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.protocol import Vectors


class Strongest(NamedTuple):
    """`(n, k)` column numbers, ascending in each row, and `(n, k) float32` weights, 0 where there are fewer than k."""

    indices: NDArray[np.int32]
    weights: Vectors


def strongest(rows: Vectors, k: int) -> Strongest:
    """The k largest by size of each row of `(n, m) float32`; ties are broken in any way, but always in the same."""
    k = min(k, rows.shape[1])
    chosen = np.argpartition(-np.abs(rows), k - 1, axis=1)[:, :k]
    chosen.sort(axis=1)
    return Strongest(chosen.astype(np.int32), np.take_along_axis(rows, chosen, axis=1).astype(np.float32))


def kept(found: Strongest, k: int) -> Strongest:
    """The k largest by size of what was kept of each row."""
    if k >= found.weights.shape[1]:
        return found
    places = strongest(found.weights, k).indices
    return Strongest(
        np.take_along_axis(found.indices, places, axis=1), np.take_along_axis(found.weights, places, axis=1)
    )


def stacked(blocks: list[Strongest]) -> Strongest:
    """Blocks of rows, in their order, as one."""
    return Strongest(np.vstack([b.indices for b in blocks]), np.vstack([b.weights for b in blocks]))
