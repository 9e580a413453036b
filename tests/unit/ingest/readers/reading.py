"""Reading a whole file, as the tests of every reader do it."""

from ingest.items import AttributeType
from ingest.mapping import EventMapping, ItemMapping
from ingest.readers import Row, RowError, read_events, read_items

DECLARED = {"year": AttributeType.INTEGER, "tags": AttributeType.KEYWORD}


def codes(rows):
    return {row.position: row.code for row in rows if isinstance(row, RowError)}


def ids(rows):
    return {row.position: row.value.item_id for row in rows if isinstance(row, Row)}


def items(path, mapping=None, max_text_chars=1_000, **options):
    return list(read_items(path, mapping or ItemMapping(), DECLARED, max_text_chars=max_text_chars, **options))


def events(path, mapping=None):
    return list(read_events(path, mapping or EventMapping(), {"view", "rating"}))
