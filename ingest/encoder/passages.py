"""Where a long text is cut so that each piece fits the model: sentence borders first, token borders if it must be."""

import re
import sys
from bisect import bisect_right
from collections.abc import Sequence

Span = tuple[int, int]

# Latin marks end a sentence only before white space ("3.14", "e.g.x"); Chinese and Japanese ones need none. Closing
# quotes and brackets belong to the sentence they close. What any of them begins with stands first: `re` passes over all
# other characters four times as quickly then.
_BORDER = re.compile(
    r"[.!?…。！？；｡\n](?:(?<=[.!?…])[.!?…]*[\"'”’)\]]*(?=\s)|(?<=[。！？；｡])[。！？；｡]*[”’」』）】]*|(?<=\n))"  # noqa: RUF001 - the marks of Chinese and Japanese
)


def split_tokens(text: str, offsets: Sequence[Span], limit: int) -> list[Span]:
    """Cut a text's tokens into pieces of at most `limit`, as few as whole sentences allow.

    `offsets` are the tokens' (start, end) characters in `text`, in order. Returns (first, end) token positions that
    cover every token once, in order; a sentence of more than `limit` tokens is cut every `limit` tokens.
    """
    if limit < 1:
        raise ValueError("a piece needs room for one token")
    borders = _sentence_ends(text, offsets)
    pieces: list[Span] = []
    first = 0
    while first < len(offsets):
        end = first + limit
        if end < len(offsets):
            # The last sentence end that still fits; without one the sentence itself is too long.
            fitting = bisect_right(borders, end) - 1
            if fitting >= 0 and borders[fitting] > first:
                end = borders[fitting]
        end = min(end, len(offsets))
        pieces.append((first, end))
        first = end
    return pieces


def _sentence_ends(text: str, offsets: Sequence[Span]) -> list[int]:
    """Token positions before which a sentence has ended, ascending."""
    # Spans compare by their start first: the last one that starts before a border comes before (border - 1, anything).
    return [bisect_right(offsets, (match.end() - 1, sys.maxsize)) for match in _BORDER.finditer(text)]
