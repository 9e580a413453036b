"""Files in: JSON Lines, CSV and Parquet, plain or compressed, read as a stream of items or events.

A row that is broken is handed on as a `RowError` and reading goes on; a file that is broken raises InvalidInputError.
"""

from ingest.readers.parsed import read_events, read_items
from ingest.readers.records import Progress, Row, RowError
from ingest.readers.rejects import RejectsFile
from ingest.readers.rows import file_size_hint, open_rows

__all__ = [
    "Progress",
    "RejectsFile",
    "Row",
    "RowError",
    "file_size_hint",
    "open_rows",
    "read_events",
    "read_items",
]
