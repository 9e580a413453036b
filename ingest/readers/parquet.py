"""Rows of Parquet files, a batch at a time. The only file that imports pyarrow, and only when it is called."""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ingest.errors import InvalidInputError, SettingsError
from ingest.extras import to_install
from ingest.readers.records import OnColumns, Progress, RawRow, RowError, Source
from ingest.readers.streams import open_bytes

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
_BATCH_ROWS = 1024


def read_parquet(
    source: Source,
    columns: Collection[str] | None,
    on_columns: OnColumns | None = None,
    progress: Progress | None = None,
) -> Iterator[RawRow]:
    """Rows by column name, `columns` only when they are given; numbered from 1."""
    progress = progress or Progress()
    with _open_parquet(source) as file:
        if on_columns is not None:
            on_columns(file.schema_arrow.names)
        names = [name for name in file.schema_arrow.names if columns is None or name in columns]
        position = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                for row in _batch_rows(batch):
                    position += 1
                    yield position, row if isinstance(row, dict) else _unreadable(position)
                progress.done = position
        except (OSError, _arrow_error()) as error:
            raise InvalidInputError("file_damaged", f"{source} is damaged after row {position}") from error


def parquet_rows(path: Path) -> int:
    """How many rows the file says it has."""
    with _open_parquet(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _open_parquet(source: Source) -> Iterator[Any]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - half the size of everything else: loaded when it is needed
    except ImportError as error:
        raise SettingsError(f"Parquet files need pyarrow; {to_install('parquet')}") from error
    with _seekable(source) as file:
        try:
            opened = parquet.ParquetFile(file)
        except (OSError, _arrow_error()) as error:
            raise InvalidInputError("file_damaged", f"{source} is no complete Parquet file") from error
        with opened:
            yield opened


@contextmanager
def _seekable(source: Source) -> Iterator[BinaryIO]:
    """The file itself, or a temporary copy of what comes compressed or from standard input."""
    if source != "-" and source.suffix.lower() in PARQUET_SUFFIXES and source.is_file():
        with source.open("rb") as file:
            yield file
        return
    with open_bytes(source) as stream, tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, 1024 * 1024)
        copy.seek(0)
        yield copy


def _batch_rows(batch: Any) -> list[dict[str, Any] | None]:
    try:
        rows: list[dict[str, Any] | None] = batch.to_pylist()
    except (ValueError, OverflowError, _arrow_error()):  # a string that is no UTF-8, a time that Python cannot hold
        return [_single_row(batch.slice(at, 1)) for at in range(batch.num_rows)]
    return rows


def _single_row(batch: Any) -> dict[str, Any] | None:
    try:
        return dict(batch.to_pylist()[0])
    except (ValueError, OverflowError, _arrow_error()):
        return None


def _unreadable(position: int) -> RowError:
    detail = "the row holds text that is not UTF-8, or a time finer than microseconds or out of range"
    return RowError(position=position, subject_id=None, code="bad_value", detail=detail)


def _arrow_error() -> type[Exception]:
    from pyarrow import ArrowException  # noqa: PLC0415 - as above

    error: type[Exception] = ArrowException
    return error
