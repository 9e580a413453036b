"""Which item-item weights are kept of all that a training computes: see docs/decisions/0034."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ingest.encoder.protocol import Vectors
from ingest.taste.interactions import Popularity

Rule = Literal["strongest", "most_used", "shared"]
Incoming: TypeAlias = "sparse.csr_array"  # (items, items) float32: row i holds the weights that point at item i

RULES: tuple[Rule, ...] = ("strongest", "most_used", "shared")
_LEAST_SHARED = 10  # weights an item keeps whatever others have: new items live on them
_MOST_SHARED = 10  # times k


class Keep(NamedTuple):
    """How many weights are kept for each item, and which.

    `strongest`: the k largest by size of those that point at it. `most_used`: the k largest by size times how often
    histories hold the item that they come from. `shared`: k in the mean, the largest of all by that and by how popular
    the item is that they point at; 10 to 10 k for an item.
    """

    k: int
    rule: Rule = "strongest"


def kept(blocks: Iterable[Vectors], keeps: Sequence[Keep], popularity: Popularity) -> list[Incoming]:
    """What each of the keeps leaves of the weights, given as blocks of rows `(m, items) float32` in their order.

    Ties are broken in any way, but always in the same. Memory: 8 k bytes an item and keep, 120 k for one that shares.
    """
    use = np.sqrt(1.0 + popularity.relative).astype(np.float32)
    keepers = [_keeper(keep, use) for keep in keeps]
    for rows in blocks:
        for keeper in keepers:
            keeper.take(rows)
    return [keeper.kept() for keeper in keepers]


class _Keeper(Protocol):
    def take(self, rows: Vectors) -> None: ...
    def kept(self) -> Incoming: ...


def _keeper(keep: Keep, use: Vectors) -> _Keeper:
    if keep.rule == "shared":
        return _Shared(keep.k, use)
    return _Each(keep.k, use if keep.rule == "most_used" else None)


class _Each:
    """As many weights for each item."""

    def __init__(self, k: int, use: Vectors | None) -> None:
        self._k, self._use = k, use
        self._indices: list[NDArray[np.int32]] = []
        self._weights: list[Vectors] = []

    def take(self, rows: Vectors) -> None:
        sizes = np.abs(rows) if self._use is None else np.abs(rows) * self._use
        chosen = _largest(sizes, self._k)
        self._indices.append(chosen)
        self._weights.append(np.take_along_axis(rows, chosen, axis=1))

    def kept(self) -> Incoming:
        indices, weights = np.vstack(self._indices), np.vstack(self._weights)
        return _rows(indices, weights, np.ones_like(weights, dtype=np.bool_))


class _Shared:
    """As many weights for each item in the mean: more for those where they matter more."""

    def __init__(self, k: int, use: Vectors) -> None:
        self._k, self._use = k, use
        self._indices: list[NDArray[np.int32]] = []
        self._weights: list[Vectors] = []
        self._sizes: list[Vectors] = []
        self._taken = 0

    def take(self, rows: Vectors) -> None:
        targets = self._use[self._taken : self._taken + len(rows), np.newaxis]
        self._taken += len(rows)
        sizes = np.abs(rows) * self._use * targets
        candidates = _largest(sizes, _MOST_SHARED * self._k)
        sizes = np.take_along_axis(sizes, candidates, axis=1)
        np.put_along_axis(sizes, _largest(sizes, min(_LEAST_SHARED, self._k)), np.inf, axis=1)
        self._indices.append(candidates)
        self._weights.append(np.take_along_axis(rows, candidates, axis=1))
        self._sizes.append(sizes)

    def kept(self) -> Incoming:
        indices, weights, sizes = np.vstack(self._indices), np.vstack(self._weights), np.vstack(self._sizes)
        most = self._k * len(indices)
        least = np.partition(sizes, sizes.size - most, axis=None)[sizes.size - most] if most < sizes.size else 0.0
        return _rows(indices, weights, sizes >= least)


def _largest(sizes: Vectors, k: int) -> NDArray[np.int32]:
    """The column numbers of the k largest of each row, ascending: `(m, k)`."""
    k = min(k, sizes.shape[1])
    chosen = np.argpartition(-sizes, k - 1, axis=1)[:, :k]
    chosen.sort(axis=1)
    return chosen.astype(np.int32)


def _rows(indices: NDArray[np.int32], weights: Vectors, chosen: NDArray[np.bool_]) -> Incoming:
    """Those weights of each row that are chosen and are not 0."""
    chosen = chosen & (weights != 0)
    starts = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))])
    return sparse.csr_array((weights[chosen], indices[chosen], starts), shape=(len(indices), len(indices)))
