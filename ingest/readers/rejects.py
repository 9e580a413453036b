"""The file that lists refused rows: made when the first row is refused, gone when none is."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson

from ingest.errors import SettingsError
from ingest.readers.records import RowError


class RejectsFile:
    """A context manager that writes one JSON line per refused row; `count` says how many there were."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        elif error is None and self.path.is_file():
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

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("wb")
        except OSError as error:
            raise SettingsError(
                f"refused rows cannot be listed in {self.path}: {error.strerror}; name another file with --rejects"
            ) from error
