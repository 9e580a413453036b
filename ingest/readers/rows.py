"""Rows of any file that akin reads, whatever its format and compression."""

from collections.abc import Collection, Iterator
from typing import Literal, cast

from ingest.errors import InvalidInputError
from ingest.readers.lines import read_csv, read_json_lines
from ingest.readers.parquet import PARQUET_SUFFIXES, parquet_rows, read_parquet
from ingest.readers.records import OnColumns, Progress, RawRow, Source
from ingest.readers.streams import check_readable, open_bytes

Format = Literal["jsonl", "csv", "parquet"]

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSED = (".gz", ".gzip", ".zst")
MAX_LINE_BYTES = 16 * 1024 * 1024


def open_rows(
    source: Source,
    format: str | None = None,  # noqa: A002 - what the option is called
    *,
    columns: Collection[str] | None = None,
    on_columns: OnColumns | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    progress: Progress | None = None,
) -> Iterator[RawRow]:
    """Rows with their positions, streamed; a broken row is a `RowError` and reading goes on.

    `columns` spares Parquet the others; `on_columns` may refuse a CSV or Parquet file by its columns.
    Raises InvalidInputError when the file cannot be read any further.
    """
    check_readable(source)
    kind = file_format(source, format)
    if kind == "parquet":
        yield from read_parquet(source, columns, on_columns, progress)
        return
    with open_bytes(source, progress) as stream:
        if kind == "csv":
            yield from read_csv(stream, max_line_bytes, on_columns)
        else:
            yield from read_json_lines(stream, max_line_bytes)


def file_format(source: Source, format: str | None = None) -> Format:  # noqa: A002 - as above
    """The format that is named, or that the file's name ends in; standard input is JSON Lines unless it is named."""
    if format is not None:
        if format not in _FORMATS.values():
            raise InvalidInputError("file_format", "the format must be jsonl, csv or parquet")
        return cast("Format", format)
    if source == "-":
        return "jsonl"
    name = source.name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    for suffix, known in _FORMATS.items():
        if name.endswith(suffix):
            return known
    raise InvalidInputError(
        "file_format", f"{source} ends in none of {', '.join(_FORMATS)} (.gz, .zst); name the format with --format"
    )


def file_size_hint(source: Source, format: str | None = None) -> int | None:  # noqa: A002 - as above
    """What `Progress` counts up to: rows of a Parquet file, bytes of any other; None where only reading it tells."""
    if source == "-":
        return None
    try:
        size = source.stat().st_size if source.is_file() else None
    except OSError:  # whoever reads it is told
        return None
    if size is None or file_format(source, format) != "parquet":
        return size
    return parquet_rows(source) if source.suffix.lower() in PARQUET_SUFFIXES else None
