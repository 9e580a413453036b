"""Which pieces go to the model together. Pure arithmetic; no vendor types."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.encoder.tokens import Ids, Piece


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of the pieces, and what the model is given for them: `(n, tokens)` each."""

    rows: Sequence[int]
    ids: Ids
    mask: Ids

    def halves(self) -> "tuple[Batch, Batch]":
        """Two batches with half of the rows each; at least two rows must be there."""
        middle = len(self.rows) // 2
        return (
            Batch(rows=self.rows[:middle], ids=self.ids[:middle], mask=self.mask[:middle]),
            Batch(rows=self.rows[middle:], ids=self.ids[middle:], mask=self.mask[middle:]),
        )


def of_equal_length(pieces: Sequence[Piece], budget: int) -> Iterator[Batch]:
    """Batches without padding, longest first: pieces of one length, as many as `budget` tokens hold, at least one."""
    order = sorted(range(len(pieces)), key=lambda row: pieces[row].ids.shape[1], reverse=True)
    first = 0
    while first < len(order):
        length = pieces[order[first]].ids.shape[1]
        most = first + max(1, budget // length)
        end = first + 1
        while end < min(most, len(order)) and pieces[order[end]].ids.shape[1] == length:
            end += 1
        ids = np.concatenate([pieces[row].ids for row in order[first:end]])
        yield Batch(rows=order[first:end], ids=ids, mask=np.ones_like(ids))
        first = end


def padded_to_longest(pieces: Sequence[Piece], budget: int, *, pad: int, multiple: int = 8) -> Iterator[Batch]:
    """Batches of pieces of about one length, longest first, padded to a multiple: for devices that want large calls."""
    order = sorted(range(len(pieces)), key=lambda row: pieces[row].ids.shape[1], reverse=True)
    first = 0
    while first < len(order):
        width = -(-pieces[order[first]].ids.shape[1] // multiple) * multiple
        end = min(len(order), first + max(1, budget // width))
        ids = np.full((end - first, width), pad, np.int64)
        mask = np.zeros_like(ids)
        for position, row in enumerate(order[first:end]):
            length = pieces[row].ids.shape[1]
            ids[position, :length] = pieces[row].ids[0]
            mask[position, :length] = 1
        yield Batch(rows=order[first:end], ids=ids, mask=mask)
        first = end
