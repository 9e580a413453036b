"""What items have in common over everybody's histories: less, where it is asked for, the more was met between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ingest.encoder.protocol import Vectors
from ingest.taste.interactions import Matrix

_PAIRS = 1_000_000  # of entries at a time: some 80 MB


@dataclass(frozen=True, kw_only=True)
class InCommon:
    """`sum_u x_ui x_uj / (1 + fading |p_ui - p_uj|)` for the items i and j.

    x is `matrix`, `(users, items)`; p are the `places` of its entries in their histories, in the order of its data.
    Neighbours were met for one reason more often than what lies a hundred items apart. As `1 / (1 + fading d)` is a
    mean of `exp(-t d)` over t, the sum is a Gram matrix for any fading: with a ridge it can be inverted.
    """

    matrix: Matrix
    places: NDArray[np.int32] | None = None  # None: without fading nobody asks
    fading: float = 0.0

    def rows(self, block: slice) -> Vectors:
        """Those of a block of items, `(m, items) float32`."""
        if not self.fading:
            return np.asarray((self._by_item[block] @ self.matrix).toarray(), dtype=np.float32)
        items = self.matrix.shape[1]
        found = np.zeros((block.stop - block.start, items), np.float32)
        for row, other, values in self._faded(block):
            np.add.at(found.reshape(-1), row * items + other, values)
        return found

    def sparse_rows(self, block: slice) -> Matrix:
        """The same without what no user has met together, in sparse form."""
        if not self.fading:
            return self._by_item[block] @ self.matrix
        found = sparse.csr_array((block.stop - block.start, self.matrix.shape[1]), dtype=np.float32)
        for row, other, values in self._faded(block):
            counts = np.bincount(row, minlength=found.shape[0])
            starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)  # rows ascend
            numbers = np.arange(len(other) + 1, dtype=np.int32)
            own = sparse.csr_array((values, numbers[:-1], starts), shape=(found.shape[0], len(other)))
            ones = np.ones(len(other), np.float32)
            # A product adds up what is of one place in half of the time that sorting takes.
            found = found + own @ sparse.csr_array((ones, other, numbers), shape=(len(other), found.shape[1]))
        return found

    def blocks(self) -> Iterator[slice]:
        """All items, so many at a time that their sparse rows are small: a popular item may be alone."""
        lengths = np.diff(self._starts)
        pairs = np.bincount(self.matrix.indices, np.repeat(lengths, lengths), self.matrix.shape[1])
        ends = np.cumsum(pairs)
        start = 0
        while start < len(ends):
            most = ends[start] - pairs[start] + _PAIRS
            stop = max(start + 1, int(np.searchsorted(ends, most, side="right")))
            yield slice(start, stop)
            start = stop

    def _faded(self, block: slice) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], Vectors]]:
        """What each pair adds: row in the block, ascending, the other item, and how much."""
        for row, entry, other in self._pairs(block):
            values = self.matrix.data[entry] * self.matrix.data[other]
            apart = np.abs(self._places[entry] - self._places[other])
            yield row, self.matrix.indices[other], (values / (1.0 + self.fading * apart)).astype(np.float32)

    def _pairs(self, block: slice) -> Iterator[tuple[NDArray[np.int64], ...]]:
        """Each entry of these items beside all of the same user: row in the block, and the numbers of both."""
        by_item, starts = self._numbered, self._starts
        mine = slice(by_item.indptr[block.start], by_item.indptr[block.stop])
        entries, users = by_item.data[mine].astype(np.int64), by_item.indices[mine]
        rows = np.repeat(np.arange(block.stop - block.start), np.diff(by_item.indptr[block.start : block.stop + 1]))
        lengths = starts[users + 1] - starts[users]
        ends = np.cumsum(lengths)
        first = 0
        while first < len(entries):
            before = ends[first] - lengths[first]
            stop = max(first + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
            some = slice(first, stop)
            n = lengths[some]
            within = np.arange(n.sum()) - np.repeat(ends[some] - n - before, n)
            yield np.repeat(rows[some], n), np.repeat(entries[some], n), np.repeat(starts[users[some]], n) + within
            first = stop

    @cached_property
    def _by_item(self) -> Matrix:
        return sparse.csr_array(self.matrix.T)

    @cached_property
    def _numbered(self) -> Matrix:
        """The numbers of the entries, by item."""
        numbers = np.arange(self.matrix.nnz, dtype=self.matrix.indptr.dtype)
        stored = (numbers, self.matrix.indices, self.matrix.indptr)
        return sparse.csr_array(sparse.csr_array(stored, shape=self.matrix.shape).T)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.asarray(self.matrix.indptr, np.int64)

    @property
    def _places(self) -> NDArray[np.int32]:
        if self.places is None:
            raise ValueError("what fades by places needs places")
        return self.places
