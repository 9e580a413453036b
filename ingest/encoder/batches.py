"""Which pieces go to the model together. Pure arithmetic; no vendor types."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.encoder.tokens import Ids, Piece


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pieces that one call of the model reads: which rows they are, and the ids of each, `(1, tokens)`."""

    rows: Sequence[int]
    ids: Sequence[Ids]

    @property
    def tokens(self) -> int:
        """The tokens of all pieces, without padding."""
        return sum(ids.shape[1] for ids in self.ids)

    @property
    def padded_tokens(self) -> int:
        """The tokens with all pieces padded to the longest."""
        return len(self.ids) * max(int(ids.shape[1]) for ids in self.ids)

    def halves(self) -> "tuple[Batch, Batch]":
        """Two batches with half of the rows each; at least two rows must be there."""
        middle = len(self.rows) // 2
        return (
            Batch(rows=self.rows[:middle], ids=self.ids[:middle]),
            Batch(rows=self.rows[middle:], ids=self.ids[middle:]),
        )

    def table(self, *, pad: int = 0, multiple: int = 1) -> tuple[Ids, Ids]:
        """Ids and mask, `(n, width)`: every piece filled up with `pad` to the longest, rounded up to a multiple."""
        width = -(-max(ids.shape[1] for ids in self.ids) // multiple) * multiple
        table = np.full((len(self.ids), width), pad, np.int64)
        mask = np.zeros_like(table)
        for row, ids in enumerate(self.ids):
            table[row, : ids.shape[1]] = ids[0]
            mask[row, : ids.shape[1]] = 1
        return table, mask


def of_equal_length(pieces: Sequence[Piece], budget: int) -> Iterator[Batch]:
    """Batches without padding, longest first: pieces of one length, as many as `budget` tokens hold, at least one."""
    order = _longest_first(pieces)
    first = 0
    while first < len(order):
        length = _length(pieces[order[first]])
        most = first + max(1, budget // length)
        end = first + 1
        while end < min(most, len(order)) and _length(pieces[order[end]]) == length:
            end += 1
        yield _batch(pieces, order[first:end])
        first = end


def of_like_length(pieces: Sequence[Piece], budget: int, *, multiple: int) -> Iterator[Batch]:
    """Batches of pieces of about one length, longest first: for devices that want large calls, and pad them.

    `budget` counts the padding, by which the longest piece is filled up to a multiple as well.
    """
    order = _longest_first(pieces)
    first = 0
    while first < len(order):
        width = -(-_length(pieces[order[first]]) // multiple) * multiple
        end = first + max(1, budget // width)
        yield _batch(pieces, order[first:end])
        first = end


def of_any_length(pieces: Sequence[Piece], budget: int) -> Iterator[Batch]:
    """Batches for what needs no padding, longest pieces first: as many as `budget` tokens hold, at least one."""
    order = _longest_first(pieces)
    first = tokens = 0
    for end, row in enumerate(order):
        if end > first and tokens + _length(pieces[row]) > budget:
            yield _batch(pieces, order[first:end])
            first, tokens = end, 0
        tokens += _length(pieces[row])
    if first < len(order):
        yield _batch(pieces, order[first:])


def _batch(pieces: Sequence[Piece], rows: Sequence[int]) -> Batch:
    return Batch(rows=rows, ids=[pieces[row].ids for row in rows])


def _longest_first(pieces: Sequence[Piece]) -> list[int]:
    return sorted(range(len(pieces)), key=lambda row: _length(pieces[row]), reverse=True)


def _length(piece: Piece) -> int:
    return int(piece.ids.shape[1])
