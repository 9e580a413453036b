import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.encoder.batches import of_equal_length, padded_to_longest
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
    for batch in batches:
        assert {lengths[row] for row in batch.rows} == {batch.ids.shape[1]}
        assert batch.mask.all()
        assert len(batch.rows) == 1 or batch.ids.size <= budget
        assert [int(row[0]) - 1 for row in batch.ids] == list(batch.rows)
    widths = [batch.ids.shape[1] for batch in batches]
    assert widths == sorted(widths, reverse=True)


@given(LENGTHS, st.integers(1, 200))
def test_padding_hides_behind_the_mask(lengths: list[int], budget: int) -> None:
    batches = list(padded_to_longest(pieces(lengths), budget, pad=0))

    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))
    for batch in batches:
        assert batch.ids.shape[1] % 8 == 0
        assert len(batch.rows) == 1 or batch.ids.size <= budget
        for row, ids, mask in zip(batch.rows, batch.ids, batch.mask, strict=True):
            assert mask.sum() == lengths[row]
            assert (ids[: lengths[row]] == row + 1).all()
            assert not ids[lengths[row] :].any()


@given(st.lists(st.integers(2, 40), min_size=2, max_size=60))
def test_halves_hold_every_row_once(lengths: list[int]) -> None:
    (batch,) = padded_to_longest(pieces(lengths), 10_000, pad=0)

    first, second = batch.halves()

    assert [*first.rows, *second.rows] == list(batch.rows)
    assert first.rows
    assert second.rows
    assert np.array_equal(np.concatenate([first.ids, second.ids]), batch.ids)
    assert np.array_equal(np.concatenate([first.mask, second.mask]), batch.mask)
