"""Log lines as JSON on standard error: constant event strings with fields, ids and never texts."""

import logging
import sys
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
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if (asked := request_id.get()) is not None:
            line["request_id"] = asked
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(level: str = "INFO") -> None:
    """Send everything at or above `level` to standard error; vendors' chatter only from WARNING on."""
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[stderr], force=True)
    for ours in ("ingest", "serving", "workers"):
        logging.getLogger(ours).setLevel(level)
