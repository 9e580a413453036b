"""The file that lists refused rows: made when the first row is refused, gone when none is.

A file that is no such list is never written over or removed.
"""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson

from ingest.errors import SettingsError
from ingest.readers.records import RowError

_FIELDS = frozenset({"position", "subject_id", "code", "detail"})
_LONGEST_LINE = 65_536  # bytes, far above any line that is written here


class RejectsFile:
    """A context manager that writes one JSON line per refused row; `count` says how many there were.

    Entering raises SettingsError when the path is that of somebody else's file. An empty one may be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self.path.is_file() and self.path.stat().st_size and not self._is_a_list():
            raise self._refused("it holds something else")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        elif error is None and self.path.is_file() and self._is_a_list():
            self.path.unlink()  # what an earlier run refused is no longer so

    def write(self, error: RowError) -> None:
        """Add one line: position, subject_id, code and detail."""
        if self._file is None:
            self._file = self._opened()
        self.count += 1
        self._file.write(
            orjson.dumps(
                {
                    "position": error.position,
                    "subject_id": error.subject_id,
                    "code": error.code,
                    "detail": error.detail,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
        )

    def _is_a_list(self) -> bool:
        """Whether the file that stands there begins as this class begins one."""
        try:
            with self.path.open("rb") as file:
                first = orjson.loads(file.readline(_LONGEST_LINE))
        except orjson.JSONDecodeError:
            return False
        except OSError as error:
            raise self._refused(error.strerror) from error
        return isinstance(first, dict) and first.keys() == _FIELDS

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("wb")
        except OSError as error:
            raise self._refused(error.strerror) from error

    def _refused(self, reason: str | None) -> SettingsError:
        return SettingsError(f"refused rows cannot be listed in {self.path}: {reason}; name another with --rejects")
