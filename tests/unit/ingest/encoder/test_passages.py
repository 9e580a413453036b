from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.encoder.passages import Span, split_tokens

TEXTS = st.text(alphabet=st.sampled_from("ab .!?\n。！；”…"), max_size=300)


def words(text: str) -> list[Span]:
    """Every character that is no space as one token."""
    return [(place, place + 1) for place, letter in enumerate(text) if not letter.isspace()]


def cut(text: str, limit: int) -> list[str]:
    offsets = words(text)
    return [text[offsets[first][0] : offsets[end - 1][1]] for first, end in split_tokens(text, offsets, limit)]


@given(TEXTS, st.integers(1, 40))
def test_pieces_cover_every_token_once_in_order_and_none_is_too_long(text: str, limit: int) -> None:
    offsets = words(text)

    pieces = split_tokens(text, offsets, limit)

    assert [token for first, end in pieces for token in range(first, end)] == list(range(len(offsets)))
    assert all(0 < end - first <= limit for first, end in pieces)


@given(TEXTS, st.integers(1, 40))
def test_two_neighbouring_pieces_never_fit_into_one_unless_a_sentence_was_cut(text: str, limit: int) -> None:
    offsets = words(text)
    pieces = split_tokens(text, offsets, limit)

    for (first, middle), (_, end) in pairwise(pieces):
        # The greedy choice: what was left out of a piece is at least the next sentence.
        rest = text[offsets[middle][0] : offsets[end - 1][1]]
        assert end - first > limit or any(mark in rest for mark in ".!?\n。！；…")


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("abc. def. ghi.", 8, ["abc. def.", "ghi."]),
        ("pi is 3.14159 ok. yes", 15, ["pi is 3.14159 ok.", "yes"]),  # a decimal point ends no sentence
        ("我爱书。我爱山！我爱水；", 8, ["我爱书。我爱山！", "我爱水；"]),
        ("he said: “go.” then", 12, ["he said: “go.”", "then"]),  # the closing quote belongs to the sentence
        ("line one\nline two", 8, ["line one", "line two"]),
    ],
)
def test_sentences_stay_whole_where_they_fit(text: str, limit: int, pieces: list[str]) -> None:
    assert cut(text, limit) == pieces


def test_a_sentence_that_is_too_long_is_cut_at_token_borders() -> None:
    assert cut("abcdefghij", 4) == ["abcd", "efgh", "ij"]


def test_no_tokens_make_no_pieces() -> None:
    assert split_tokens("   ", [], 8) == []


def test_a_megabyte_is_cut_in_bounded_time() -> None:
    text = "a. " * 350_000
    started = perf_counter()

    pieces = split_tokens(text, words(text), 254)

    assert len(pieces) == -(-700_000 // 254)
    assert perf_counter() - started < 10
