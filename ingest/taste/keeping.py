"""Which item-item weights are kept of all that a training computes: see docs/decisions/0034."""

from collections.abc import Iterable, Sequence, Sized
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ingest.encoder.protocol import Vectors
from ingest.settings import KeepRule
from ingest.taste.interactions import Matrix, Popularity

Rows: TypeAlias = "Vectors | sparse.csr_array"  # dense, or sparse where most weights are 0
Incoming: TypeAlias = "sparse.csr_array"  # (items, items) float32: row i holds the weights that point at item i

_LEAST_SHARED = 10  # weights an item keeps whatever others have: new items live on them
_TIMES_SHARED = 10  # as many as k an item keeps at most
_MOST_SHARED = 1_000
_ROWS = 4_096


class Keep(NamedTuple):
    """How many weights are kept for each item, and which.

    `strongest`: the k largest by size of those that point at it. `most_used`: the k largest by size times how often
    histories hold the item that they come from. `shared`: k in the mean, the largest of all by that and by how popular
    the item is that they point at; for each item at least 10, and at most 10 k or 1,000 (but never fewer than k).
    """

    k: int
    rule: KeepRule = "strongest"

    @property
    def most(self) -> int:
        """As many weights as one item may keep."""
        return self.k if self.rule != "shared" else min(_TIMES_SHARED * self.k, max(_MOST_SHARED, self.k))


def kept(blocks: Iterable[Rows], keeps: Sequence[Keep], popularity: Popularity) -> list[Incoming]:
    """What each of the keeps leaves of the weights, given as blocks of rows `(m, items) float32` in their order.

    Ties are broken in any way, but always in the same. Memory: 8 k bytes an item and keep, 8 for each weight that an
    item may keep by the largest keep by size and by the largest by use, and 8 more while what is shared is compared.
    """
    use = np.sqrt(1.0 + popularity.relative).astype(np.float32)
    by_size = _Largest([keep for keep in keeps if keep.rule == "strongest"], np.ones_like(use))
    by_use = _Largest([keep for keep in keeps if keep.rule != "strongest"], use)
    for rows in blocks:
        by_size.take(rows)
        by_use.take(rows)
    return [_kept(by_size if keep.rule == "strongest" else by_use, keep, use) for keep in keeps]


class _Largest:
    """As many weights of each item as the keeps may need, row after row: the largest times their columns' worth."""

    def __init__(self, keeps: Sequence[Keep], worth: Vectors) -> None:
        shape = (len(worth), min(len(worth), max((keep.most for keep in keeps), default=0)))
        self.worth = worth
        self.indices = np.zeros(shape, np.int32)
        self.weights = np.zeros(shape, np.float32)
        self._rows = 0

    def take(self, rows: Rows) -> None:
        if not self.weights.shape[1]:
            return
        there = slice(self._rows, self._rows + rows.shape[0])
        if isinstance(rows, np.ndarray):
            self._take_dense(rows, there)
        else:
            self._take_sparse(rows, there)
        self._rows = there.stop

    def sizes(self, rows: slice) -> Vectors:
        """Of some rows' weights, times their columns' worth."""
        return np.asarray(np.abs(self.weights[rows]) * self.worth[self.indices[rows]])

    def _take_dense(self, rows: Vectors, there: slice) -> None:
        self.indices[there] = _places(np.abs(rows) * self.worth, self.weights.shape[1])
        self.weights[there] = np.take_along_axis(rows, self.indices[there], axis=1)

    def _take_sparse(self, rows: Matrix, there: slice) -> None:
        most = self.weights.shape[1]
        sizes = np.abs(rows.data) * self.worth[rows.indices]
        chosen = np.ones(len(sizes), np.bool_)
        for row in np.flatnonzero(np.diff(rows.indptr) > most):
            own = slice(rows.indptr[row], rows.indptr[row + 1])
            chosen[own] = False
            chosen[own][_places(sizes[np.newaxis, own], most)] = True
        largest = _chosen(rows, chosen)
        counts = np.diff(largest.indptr)
        filled = np.arange(most) < counts[:, np.newaxis]  # the rest of a row stays 0
        self.indices[there][filled] = largest.indices
        self.weights[there][filled] = largest.data


def _chosen(rows: Matrix, chosen: NDArray[np.bool_]) -> Matrix:
    """Those entries of sparse rows, columns ascending."""
    starts = np.concatenate([[0], np.cumsum(chosen)])[rows.indptr]
    found = sparse.csr_array((rows.data[chosen], rows.indices[chosen], starts), shape=rows.shape)
    found.sort_indices()
    return found


def _kept(found: _Largest, keep: Keep, use: Vectors) -> Incoming:
    if keep.rule == "shared":
        return _rows(found, _shared(found.sizes(slice(None)) * use[:, np.newaxis], keep))
    chosen = np.zeros(found.weights.shape, np.bool_)
    for rows in _blocks(chosen):
        np.put_along_axis(chosen[rows], _places(found.sizes(rows), keep.k), values=True, axis=1)
    return _rows(found, chosen)


def _shared(sizes: Vectors, keep: Keep) -> NDArray[np.bool_]:
    """The largest of all, k for each row in the mean, and the first of each row whatever others have."""
    for rows in _blocks(sizes):
        own = _places(sizes[rows], min(_LEAST_SHARED, keep.k))
        first = np.take_along_axis(sizes[rows], own, axis=1)
        np.put_along_axis(sizes[rows], own, np.where(first > 0, np.inf, 0), axis=1)
    most = keep.k * len(sizes)
    if most >= sizes.size:
        return np.ones(sizes.shape, np.bool_)
    least = np.partition(sizes, sizes.size - most, axis=None)[sizes.size - most]
    chosen: NDArray[np.bool_] = sizes > least
    level = np.flatnonzero(sizes == least)[: most - np.count_nonzero(chosen)]
    chosen.ravel()[level] = True
    return chosen


def _blocks(rows: Sized) -> list[slice]:
    """Rows to look at together: ordering takes 12 bytes for each of their numbers."""
    return [slice(start, start + _ROWS) for start in range(0, len(rows), _ROWS)]


def _places(sizes: Vectors, k: int) -> NDArray[np.int32]:
    """Where the k largest of each row are, ascending: `(m, k)`."""
    k = min(k, sizes.shape[1])
    chosen = np.argpartition(-sizes, k - 1, axis=1)[:, :k]
    chosen.sort(axis=1)
    return chosen.astype(np.int32)


def _rows(found: _Largest, chosen: NDArray[np.bool_]) -> Incoming:
    """Those weights of each row that are chosen and are not 0."""
    chosen &= found.weights != 0
    starts = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))])
    if starts[-1] <= np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)  # else scipy would widen the indices as well
    items = len(chosen)
    return sparse.csr_array((found.weights[chosen], found.indices[chosen], starts), shape=(items, items))
