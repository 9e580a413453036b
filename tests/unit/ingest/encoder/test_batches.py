from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.encoder.batches import of_any_length, of_equal_length, of_like_length
from ingest.encoder.tokens import Piece

LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=60)


def pieces(lengths: list[int]) -> list[Piece]:
    return [
        Piece(text=row, ids=np.full((1, length), row + 1, np.int64), weight=length)
        for row, length in enumerate(lengths)
    ]


@given(LENGTHS, st.integers(1, 200))
def test_every_piece_is_in_one_batch_of_its_own_length(lengths: list[int], budget: int) -> None:
    batches = list(of_equal_length(pieces(lengths), budget))

    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))
    tables = [batch.table() for batch in batches]
    for batch, (ids, mask) in zip(batches, tables, strict=True):
        assert {lengths[row] for row in batch.rows} == {ids.shape[1]}
        assert mask.all()
        assert len(batch.rows) == 1 or ids.size <= budget
        assert [int(row[0]) - 1 for row in ids] == list(batch.rows)
    widths = [ids.shape[1] for ids, _ in tables]
    assert widths == sorted(widths, reverse=True)


@given(LENGTHS, st.integers(1, 200))
def test_padding_hides_behind_the_mask(lengths: list[int], budget: int) -> None:
    batches = list(of_like_length(pieces(lengths), budget, multiple=8))

    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))
    for batch in batches:
        table = batch.table(pad=0, multiple=8)
        assert table[0].shape[1] % 8 == 0
        assert len(batch.rows) == 1 or table[0].size <= budget
        for row, ids, mask in zip(batch.rows, *table, strict=True):
            assert mask.sum() == lengths[row]
            assert (ids[: lengths[row]] == row + 1).all()
            assert not ids[lengths[row] :].any()


@given(LENGTHS, st.integers(1, 200))
def test_pieces_of_any_length_fill_calls(lengths: list[int], budget: int) -> None:
    batches = list(of_any_length(pieces(lengths), budget))

    assert [row for batch in batches for row in batch.rows] == sorted(
        range(len(lengths)), key=lambda row: lengths[row], reverse=True
    )
    for batch in batches:
        assert batch.tokens == sum(lengths[row] for row in batch.rows)
        assert len(batch.rows) == 1 or batch.tokens <= budget
    for batch, after in pairwise(batches):
        assert batch.tokens + lengths[after.rows[0]] > budget


@given(st.lists(st.integers(2, 40), min_size=2, max_size=60))
def test_halves_hold_every_row_once(lengths: list[int]) -> None:
    (batch,) = of_like_length(pieces(lengths), 10_000, multiple=8)

    first, second = batch.halves()

    assert [*first.rows, *second.rows] == list(batch.rows)
    assert first.rows
    assert second.rows
    assert first.tokens + second.tokens == batch.tokens
    assert all(a is b for a, b in zip([*first.ids, *second.ids], batch.ids, strict=True))
