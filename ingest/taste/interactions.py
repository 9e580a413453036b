"""Who liked what, as one sparse matrix. Reads events as a stream and keeps nothing of them but numbers."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ingest.events import Event
from ingest.settings import Settings
from ingest.weights import event_weights, met_since, saturated

Matrix: TypeAlias = "sparse.csr_array"

LEAST_ITEMS_PER_USER = 2  # a user with one item says nothing about which items go together


class Popularity(NamedTuple):
    """Of each item, as the squared length of its column in units of `mean`: that of the columns with entries."""

    relative: NDArray[np.float64]
    mean: float


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """`matrix` is `(users, items) float32` in -1..1; its column i belongs to `item_ids[i]`.

    `places` says of each of its entries, in the order of its data, how many other items the user met after it.
    """

    item_ids: tuple[str, ...]
    matrix: Matrix
    places: NDArray[np.int32]
    events: int

    @property
    def users(self) -> int:
        """How many users have enough items to teach something."""
        return int(self.matrix.shape[0])

    def of(self, columns: NDArray[np.integer], most: int) -> "Interactions":
        """Those with some of the items, in the order of `columns`, of at most so many users, drawn evenly.

        Histories that hold none of them stay, empty.
        """
        users = np.arange(0, self.users, max(1, -(-self.users // most)))
        rows = self.matrix[users]
        where = sparse.csr_array((self.places, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape)[users]
        new = np.full(self.matrix.shape[1], -1, np.int32)
        new[columns] = np.arange(len(columns))
        held = new[rows.indices] >= 0
        of_row = np.repeat(np.arange(len(users)), np.diff(rows.indptr))[held]
        starts = np.concatenate([[0], np.cumsum(np.bincount(of_row, minlength=len(users)))])
        stored = (rows.data[held], new[rows.indices[held]], starts.astype(rows.indptr.dtype))
        return Interactions(
            item_ids=tuple(self.item_ids[column] for column in columns),
            matrix=sparse.csr_array(stored, shape=(len(users), len(columns))),
            places=where.data[held],
            events=self.events,
        )


def popularity(matrix: Matrix) -> Popularity:
    """How popular each item of a `(users, items)` matrix is; of one without entries the mean is 1."""
    squares = np.asarray(matrix.power(2).sum(axis=0), dtype=np.float64).ravel()
    mean = float(squares.sum() / max(1, np.count_nonzero(squares))) or 1.0  # events so old that they weigh nothing
    return Popularity(squares / mean, mean)


def damped(matrix: Matrix, power: float) -> Matrix:
    """The `(users, items)` matrix with long histories counting less: each row divided by `((1 + l) / (1 + m)) ^ power`.

    l is the row's squared length and m the mean of these, so that the entries of a usual history stay as they are (as
    in Park and others, Why is Normalization Necessary for Linear Recommenders?, SIGIR 2025; docs/decisions/0035).
    Memory: 4 bytes an entry; where they are is shared with `matrix`.
    """
    lengths = np.asarray(matrix.power(2).sum(axis=1), dtype=np.float64).ravel()
    usual = lengths.sum() / max(1, len(lengths))
    factors = (((1.0 + lengths) / (1.0 + usual)) ** -power).astype(np.float32)
    entries = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return sparse.csr_array((entries, matrix.indices, matrix.indptr), shape=matrix.shape)


def collect(
    item_ids: Sequence[str], histories: Iterable[Sequence[Event]], present: datetime | None, settings: Settings
) -> Interactions:
    """Build the matrix from each user's events on these items; events on other items are ignored.

    An entry is the sum of the user's saturated event weights on the item, kept within -1..1, so that it is nearly
    binary and twenty views are not twenty likes. Time decay counts from `EventStore.present`. Memory: 12 bytes for each
    pair of user and item, and one history at a time.
    """
    columns = {item_id: column for column, item_id in enumerate(item_ids)}
    values, indices, places, starts = array("f"), array("i"), array("i"), array("q", [0])
    count = 0
    for history in histories:
        known = [event for event in history if event.item_id in columns]
        row = _row(known, columns, present, settings)
        if len(row) < LEAST_ITEMS_PER_USER:
            continue
        count += len(known)
        indices.extend(row)
        values.extend(row.values())
        places.extend(_places(known, columns, row))
        starts.append(len(indices))
    shape = (len(starts) - 1, len(columns))
    # With wider starts scipy would widen the columns as well.
    narrow = np.int32 if len(indices) <= np.iinfo(np.int32).max else np.int64
    stored = (np.asarray(values, np.float32), np.asarray(indices, np.int32), np.asarray(starts, narrow))
    return Interactions(
        item_ids=tuple(item_ids),
        matrix=sparse.csr_array(stored, shape=shape),
        places=np.asarray(places, np.int32),
        events=count,
    )


def _row(
    events: Sequence[Event], columns: Mapping[str, int], present: datetime | None, settings: Settings
) -> dict[int, float]:
    total: defaultdict[int, float] = defaultdict(float)
    for event, weight in zip(events, event_weights(events, settings, present=present), strict=True):
        total[columns[event.item_id]] += saturated(weight)
    return {column: min(max(value, -1.0), 1.0) for column, value in sorted(total.items()) if value}


def _places(events: Sequence[Event], columns: Mapping[str, int], row: Iterable[int]) -> list[int]:
    """How many other items were met after each of the row's was met last."""
    newest_first = events[::-1]
    places: dict[int, int] = {}
    for event, met in zip(newest_first, met_since(newest_first), strict=True):
        places.setdefault(columns[event.item_id], met)
    return [places[column] for column in row]
