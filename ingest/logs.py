"""Log lines on standard error: constant event strings with fields, ids and never texts. Programs write JSON."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

# The id of the request that is being answered, in whichever thread; every line logged meanwhile carries it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and whatever fields the call gave."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if (asked := request_id.get()) is not None:
            line["request_id"] = asked
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class PlainFormatter(logging.Formatter):
    """One line for a person: event, and its fields in brackets; a traceback follows where there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """The line of one record."""
        fields = ", ".join(f"{name}: {value}" for name, value in _fields(record).items())
        return f"akin: {record.message}" + (f" ({fields})" if fields else "")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What the call gave besides the event."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def show_warnings() -> None:
    """Show warnings on standard error, for a command that a person runs."""
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[stderr], force=True)


@contextmanager
def errors_only(*names: str) -> Iterator[None]:
    """Nothing below ERROR of these loggers while the block runs: for a command that says itself what went wrong."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def configure_logging(level: str = "INFO") -> None:
    """Send everything at or above `level` to standard error; vendors' chatter only from WARNING on."""
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[stderr], force=True)
    for ours in ("ingest", "serving", "workers"):
        logging.getLogger(ours).setLevel(level)
