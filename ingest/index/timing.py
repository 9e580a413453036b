"""Questions to an index, timed by what they ask with, alike for every engine."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from ingest.index.protocol import Query
from ingest.metrics import ANN_SECONDS, measured

C = TypeVar("C")
T = TypeVar("T")


def timed_query(method: Callable[[C, Query], T]) -> Callable[[C, Query], T]:
    """Time a collection's `query` by what it asks with."""

    @wraps(method)
    def timed(collection: C, query: Query) -> T:
        with measured("index query", ANN_SECONDS.labels(_kind(query))):
            return method(collection, query)

    return timed


def _kind(query: Query) -> str:
    if query.exact or query.among is not None:
        return "exact"
    if query.text is not None:
        return "text"
    return "taste" if query.taste is not None else "words"
