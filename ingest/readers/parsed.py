"""Items and events of a file: its rows, mapped to fields, parsed and checked."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from ingest.errors import InvalidInputError
from ingest.events import Event, parse_event
from ingest.ids import MAX_ID_CHARS
from ingest.items import AttributeType, Item, parse_item
from ingest.mapping import EventMapping, ItemMapping
from ingest.readers.cells import event_data, item_data
from ingest.readers.records import OnColumns, Progress, RawRow, Row, RowError, Source
from ingest.readers.rows import open_rows

T = TypeVar("T")

# JSON may write one character as a pair of six-byte escapes; the rest of the row has a mebibyte.
_BYTES_PER_CHAR, _ROW_BYTES = 12, 1024 * 1024


def read_items(
    source: Source,
    mapping: ItemMapping,
    attributes: Mapping[str, AttributeType],
    *,
    max_text_chars: int,
    format: str | None = None,  # noqa: A002 - what the option is called
    progress: Progress | None = None,
) -> Iterator[Row[Item] | RowError]:
    """The items of a file, each row good or refused. Raises InvalidInputError for a file that is no such file."""
    progress, columns = progress or Progress(), mapping.columns(attributes)
    rows = open_rows(
        source,
        format,
        columns=columns,
        on_columns=_checked(mapping.check, columns, progress),
        max_line_bytes=_BYTES_PER_CHAR * max_text_chars + _ROW_BYTES,
        progress=progress,
    )
    yield from _parsed(
        _noted(rows, columns, mapping.mapped(), progress),
        item_data(mapping, attributes),
        lambda data: parse_item(data, attributes, max_text_chars=max_text_chars),
        ("item_id",),
    )


def read_events(
    source: Source,
    mapping: EventMapping,
    types: Collection[str],
    *,
    format: str | None = None,  # noqa: A002 - as above
    progress: Progress | None = None,
) -> Iterator[Row[Event] | RowError]:
    """The events of a file, in its order; without a timestamp they have none."""
    progress, columns = progress or Progress(), mapping.columns()
    on_columns = _checked(mapping.check, columns, progress)
    rows = open_rows(source, format, columns=columns, on_columns=on_columns, progress=progress)
    # No user id among the names: refused rows are listed where many may read them.
    yield from _parsed(
        _noted(rows, columns, mapping.mapped(), progress),
        event_data(mapping),
        lambda data: parse_event(data, types, now=None),
        ("event_id", "item_id"),
    )


def _checked(check: OnColumns, known: frozenset[str], progress: Progress) -> OnColumns:
    """For files that name their columns before the first row."""

    def on_columns(available: Collection[str]) -> None:
        check(available)
        progress.ignore(column for column in available if column not in known)

    return on_columns


def _noted(
    rows: Iterator[RawRow], known: frozenset[str], mapped: frozenset[str], progress: Progress
) -> Iterator[RawRow]:
    """The rows, as they are; in JSON Lines each names its own columns."""
    progress.unseen |= mapped
    for position, row in rows:
        if progress.unseen and not isinstance(row, RowError):
            progress.unseen -= row.keys()
        if not isinstance(row, RowError) and (unknown := row.keys() - known):
            progress.ignore(unknown)
        yield position, row


def _parsed(
    rows: Iterator[RawRow],
    convert: Callable[[Mapping[str, Any]], dict[str, Any]],
    parse: Callable[[Any], T],
    subject: tuple[str, ...],
) -> Iterator[Row[T] | RowError]:
    for position, row in rows:
        if isinstance(row, RowError):
            yield row
            continue
        data = convert(row)
        try:
            yield Row(position=position, value=parse(data))
        except InvalidInputError as error:
            ids = (data.get(name) for name in subject)
            yield RowError(
                position=position,
                subject_id=next((id_ for id_ in ids if _can_be_shown(id_)), None),
                code=error.code,
                detail=error.detail,
            )


def _can_be_shown(id_: Any) -> bool:
    return isinstance(id_, str) and 0 < len(id_) <= MAX_ID_CHARS and id_.isprintable()
