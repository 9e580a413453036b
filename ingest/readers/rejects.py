"""The file that lists refused rows, made when the first row is refused."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson

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

    def write(self, error: RowError) -> None:
        """Add one line: position, subject_id, code and detail."""
        if self._file is None:
            self._file = self.path.open("wb")
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
