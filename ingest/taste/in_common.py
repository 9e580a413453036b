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
        for row, entry, other in self._pairs(block):
            values = self.matrix.data[entry] * self.matrix.data[other]
            apart = np.abs(self._places[entry] - self._places[other])
            flat = row * items + self.matrix.indices[other]
            np.add.at(found.reshape(-1), flat, (values / (1.0 + self.fading * apart)).astype(np.float32))
        return found

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
