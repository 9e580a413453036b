"""Rows of text files: JSON Lines and CSV. A broken line is an error of its own; the next line is read as usual."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import orjson

from ingest.errors import InvalidInputError
from ingest.readers.records import OnColumns, RawRow, RowError

_BOM = b"\xef\xbb\xbf"
_MAX_ROW_LINES = 5_000  # an open quote would otherwise make one row of the rest of the file


def read_json_lines(stream: BinaryIO, max_line_bytes: int) -> Iterator[RawRow]:
    """One JSON object per line; blank lines are skipped."""
    for position, line in _lines(stream, max_line_bytes):
        if line is None:
            yield position, _too_long(position, max_line_bytes)
        elif not line.isspace():
            if position == 1 and line.lstrip().startswith(b"["):
                raise InvalidInputError(
                    "file_format", "the file is one JSON array; JSON Lines has one object per line, without brackets"
                )
            yield position, _json_row(position, line)


def read_csv(stream: BinaryIO, max_line_bytes: int, on_columns: OnColumns | None = None) -> Iterator[RawRow]:
    """Rows by the names of the header line; commas, semicolons or tabs, whichever the header has most of.

    An empty file has no rows, as in the other formats.
    """
    csv.field_size_limit(max(csv.field_size_limit(), max_line_bytes))
    lines = _CsvLines(stream, max_line_bytes)
    header_line = lines.peek()
    if header_line is None:
        return
    delimiter = max(",;\t", key=header_line.count)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(rows)
    if on_columns is not None:
        on_columns(header)
    while True:
        lines.begin_row()
        position = lines.position + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            lines.give_back()
            yield (
                position,
                RowError(position=position, subject_id=None, code="bad_csv", detail=f"the row is not CSV: {error}"),
            )
            continue
        if cells is None:
            return
        if cells:
            yield position, _csv_row(position, header, cells)


def _json_row(position: int, line: bytes) -> dict[str, object] | RowError:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not _is_utf8(line):
            return RowError(position=position, subject_id=None, code="bad_utf8", detail="the line is not UTF-8")
        detail = f"the line is not JSON: {error.msg}, at character {error.colno}"
        return RowError(position=position, subject_id=None, code="bad_json", detail=detail)
    if not isinstance(row, dict):
        detail = "the line is JSON, but not an object"
        return RowError(position=position, subject_id=None, code="wrong_type", detail=detail)
    return row


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _csv_row(position: int, header: Sequence[str], cells: Sequence[str]) -> dict[str, object] | RowError:
    if len(cells) != len(header):
        detail = f"the row has {len(cells)} cells, the header has {len(header)}"
        return RowError(position=position, subject_id=None, code="wrong_cells", detail=detail)
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 were decoded to lone surrogates
        return RowError(position=position, subject_id=None, code="bad_utf8", detail="the row is not UTF-8")
    return dict(zip(header, cells, strict=True))


def _header(rows: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(rows, [])]
        "".join(header).encode()
    except (csv.Error, UnicodeEncodeError) as error:
        raise InvalidInputError("file_format", "the first line is no CSV header in UTF-8") from error
    names = [name for name in header if name]
    if not names:
        raise InvalidInputError("file_format", "the file has no header: the first line must name the columns")
    if len(set(names)) != len(names):
        raise InvalidInputError("file_format", "the header names a column twice")
    return header


def _too_long(position: int, limit: int) -> RowError:
    detail = f"the line has more than {limit} bytes"
    return RowError(position=position, subject_id=None, code="line_too_long", detail=detail)


def _lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines with their ends; None for a line that is too long, which is read past, not kept."""
    position = 0
    while line := stream.readline(limit):
        position += 1
        if position == 1:
            line = _without_bom(line)
        if len(line) < limit or line.endswith(b"\n"):
            yield position, line
            continue
        while (rest := stream.readline(limit)) and not rest.endswith(b"\n"):
            pass
        yield position, None


def _without_bom(line: bytes) -> bytes:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidInputError("file_format", "the file is UTF-16; save it as UTF-8")
    return line.removeprefix(_BOM)


class _CsvLines:
    """Decoded lines for the csv module, which can be given back when the row they made is broken."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._lines = _lines(stream, limit)
        self._limit = limit
        self._next: deque[str | None] = deque()
        self._taken: list[str | None] = []
        self.position = 0  # lines handed out so far

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        line = self._next.popleft() if self._next else self._read()
        self.position += 1
        self._taken.append(line)
        if line is None:
            raise csv.Error(f"a line has more than {self._limit} bytes")
        if len(self._taken) > _MAX_ROW_LINES:
            raise csv.Error(f"a row goes over more than {_MAX_ROW_LINES} lines; is a quote left open?")
        return line

    def peek(self) -> str | None:
        """The next line, which stays the next one; "" where it is too long, None where there is none."""
        if not self._next:
            try:
                self._next.append(self._read())
            except StopIteration:
                return None
        return self._next[0] or ""

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self._taken.clear()

    def give_back(self) -> None:
        """All lines of the row but its first are read again: one open quote must not swallow its neighbours."""
        self._next.extendleft(reversed(self._taken[1:]))
        self.position -= len(self._taken) - 1

    def _read(self) -> str | None:
        _, line = next(self._lines)
        return None if line is None else line.decode("utf-8", "surrogateescape")
