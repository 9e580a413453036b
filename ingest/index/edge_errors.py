"""What Qdrant Edge raises, told as akin's own errors. Part of the Edge adapter, and needs nothing of the binding."""

from collections.abc import Iterator
from contextlib import contextmanager

from ingest.errors import AkinError, UnavailableError


@contextmanager
def translated(purpose: str) -> Iterator[None]:
    """Raise UnavailableError, with the cause kept, where the engine fails at `purpose`; akin's own errors pass."""
    try:
        yield
    except AkinError:
        raise
    except BaseException as error:
        if not is_vendor_error(error):
            raise
        raise UnavailableError(f"the index could not {purpose}; see the cause in the log, then retry") from error


def is_vendor_error(error: BaseException) -> bool:
    """Whether the engine raised it: a panic inside arrives as a BaseException that cannot be imported by name."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
