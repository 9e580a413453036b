"""How long work says how far it is. Whoever runs an evaluation brings the bar; without one it is silent."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Show = Callable[[int, int | None], None]  # how much is done, and the total where it is known
Bars = Callable[[str], AbstractContextManager[Show]]


@contextmanager
def silent(what: str) -> Iterator[Show]:  # noqa: ARG001 - nobody is told
    """No bar."""
    yield lambda _done, _total: None
