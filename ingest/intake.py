"""Taking in raw items and events from a message: what is valid is submitted, what is not is listed as a reject."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ingest.errors import InvalidInputError
from ingest.events import Event, parse_event
from ingest.items import Item, parse_item
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Reject
from ingest.submit import EventSubmission, RefusedPart, Submission, submit_events, submit_items

MESSAGE_FORMAT = 1


def parse_items(settings: Settings, data: Sequence[Any]) -> tuple[list[Item], list[int], list[RefusedPart]]:
    """The valid items, their places in `data`, and an error for each of the others."""
    items, places, errors = [], [], []
    for index, one in enumerate(data):
        try:
            items.append(parse_item(one, settings.attributes, max_text_chars=settings.max_text_chars))
            places.append(index)
        except InvalidInputError as error:
            errors.append(_error(index, one, error))
    return items, places, errors


def parse_events(
    settings: Settings, data: Sequence[Any], now: datetime | None
) -> tuple[list[Event], list[int], list[RefusedPart]]:
    """The valid events, their places in `data`, and an error for each of the others."""
    events, places, errors = [], [], []
    for index, one in enumerate(data):
        try:
            events.append(parse_event(one, settings.event_weights.keys(), now=now))
            places.append(index)
        except InvalidInputError as error:
            errors.append(_error(index, one, error))
    return events, places, errors


def take_items(
    ledger: Ledger, queue: Queue, settings: Settings, data: Sequence[Any], *, source: str, message_format: int
) -> Submission | None:
    """Submit what is valid and list the rest; None when the message as a whole was refused."""
    if refused := _refused_whole(settings, data, message_format):
        ledger.rejects.add([_reject(source, refused)])
        return None
    items, places, errors = parse_items(settings, data)
    submission = submit_items(ledger, queue, settings, items)
    errors += [error.at(places[error.index]) for error in submission.errors]
    ledger.rejects.add([_reject(source, error) for error in errors])
    return submission


def take_events(
    ledger: Ledger, settings: Settings, data: Sequence[Any], *, source: str, message_format: int
) -> EventSubmission | None:
    """Submit what is valid and list the rest; None when the message as a whole was refused."""
    if refused := _refused_whole(settings, data, message_format):
        ledger.rejects.add([_reject(source, refused)])
        return None
    events, places, errors = parse_events(settings, data, now=datetime.now(UTC))
    submission = submit_events(ledger, settings, events)
    errors += [error.at(places[error.index]) for error in submission.errors]
    ledger.rejects.add([_reject(source, error) for error in errors])
    return submission


def _refused_whole(settings: Settings, data: Any, message_format: int) -> RefusedPart | None:
    if message_format != MESSAGE_FORMAT:
        detail = f"message format {MESSAGE_FORMAT} is the one this akin reads"
        return RefusedPart(index=0, item_id=None, code="message_format", detail=detail)
    if not isinstance(data, Sequence) or isinstance(data, str):
        return RefusedPart(index=0, item_id=None, code="wrong_type", detail="the message holds no list")
    if len(data) > settings.max_batch_items:
        detail = f"at most {settings.max_batch_items} in one message"
        return RefusedPart(index=0, item_id=None, code="batch_too_large", detail=detail)
    return None


def _error(index: int, one: Any, error: InvalidInputError) -> RefusedPart:
    item_id = one.get("item_id") if isinstance(one, Mapping) else None
    named = item_id if isinstance(item_id, str) and len(item_id) <= 256 and item_id.isprintable() else None  # noqa: PLR2004 - an id's limit
    return RefusedPart(index=index, item_id=named, code=error.code, detail=error.detail)


def _reject(source: str, error: RefusedPart) -> Reject:
    return Reject(
        source=source,
        position=error.index,
        subject_id=error.item_id,
        code=error.code,
        detail=error.detail,
        rejected_at=datetime.now(UTC),
    )
