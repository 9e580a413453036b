"""Many values, some at a time: for statements, messages and calls that take only so many."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 1_000  # ids of one statement: well under SQLite's and PostgreSQL's limits on bound parameters


def chunks(values: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Cut into lists of at most `size`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
