"""Taking in raw items and events from a message: what is valid is submitted, what is not is listed as a reject."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from inspect import Parameter, Signature
from typing import Any, TypeVar

from ingest.disk import check_free_space
from ingest.errors import InvalidInputError
from ingest.events import Event, parse_event
from ingest.items import Item, parse_item
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Reject
from ingest.submit import EventSubmission, RefusedPart, Submission, submit_events, submit_items

MESSAGE_FORMAT = 1

Part = TypeVar("Part", Item, Event)
Outcome = TypeVar("Outcome", Submission, EventSubmission)


def read_message(rows: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, Any]:
    """The rows and the format of a message that holds them by place or by the names `rows` and "format".

    Raises InvalidInputError for a message that lacks its rows, or holds more than these two.
    """
    where = Parameter.POSITIONAL_OR_KEYWORD
    shape = Signature([Parameter(rows, where), Parameter("format", where, default=MESSAGE_FORMAT)])
    try:
        bound = shape.bind(*arguments, **named)
    except TypeError as error:
        raise InvalidInputError(
            "arguments", f"the message must hold {rows}, may hold format, and nothing else"
        ) from error
    bound.apply_defaults()
    return bound.arguments[rows], bound.arguments["format"]


def refuse(ledger: Ledger, error: InvalidInputError, *, source: str) -> None:
    """List a message as a whole among the rejects."""
    ledger.rejects.add([_reject(source, RefusedPart(index=0, item_id=None, code=error.code, detail=error.detail))])


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
    check_free_space(settings.home, settings.min_free_bytes)
    items, places, errors = parse_items(settings, data)
    job_id = ledger.jobs.begin("items")
    done, refused_parts = _submitted(
        lambda some: submit_items(ledger, queue, settings, some, job_id=job_id), items, places
    )
    ledger.rejects.add([_reject(source, error) for error in errors + refused_parts])
    return Submission(
        job_id=job_id,
        accepted=sum(part.accepted for part in done),
        unchanged=sum(part.unchanged for part in done),
        errors=tuple(refused_parts),
        delayed=any(part.delayed for part in done),
    )


def take_events(
    ledger: Ledger,
    settings: Settings,
    data: Sequence[Any],
    *,
    source: str,
    message_format: int,
    message_id: str | None = None,
) -> EventSubmission | None:
    """Submit what is valid and list the rest; None when the message as a whole was refused.

    With the id of the message, an event that has neither an id nor a time is counted once however often the message
    comes: its id follows from its place in the message, not from the moment it was read.
    """
    if refused := _refused_whole(settings, data, message_format):
        ledger.rejects.add([_reject(source, refused)])
        return None
    if message_id is not None:
        data = [_named(one, message_id, index) for index, one in enumerate(data)]
    events, places, errors = parse_events(settings, data, now=datetime.now(UTC))
    done, refused_parts = _submitted(lambda some: submit_events(ledger, settings, some), events, places)
    ledger.rejects.add([_reject(source, error) for error in errors + refused_parts])
    return EventSubmission(
        accepted=sum(part.accepted for part in done),
        duplicates=sum(part.duplicates for part in done),
        errors=tuple(refused_parts),
    )


def _submitted(
    submit: Callable[[Sequence[Part]], Outcome], parts: Sequence[Part], places: Sequence[int]
) -> tuple[list[Outcome], list[RefusedPart]]:
    """Submit together, or in halves where the ledger cannot hold one of them: that one then holds no other back.

    Gives the outcomes, and an error by its place in the message for each that was refused.
    """
    try:
        done = submit(parts)
    except InvalidInputError as error:
        if len(parts) == 1:
            return [], [RefusedPart(index=places[0], item_id=parts[0].item_id, code=error.code, detail=error.detail)]
        half = len(parts) // 2
        first, second = (
            _submitted(submit, parts[:half], places[:half]),
            _submitted(submit, parts[half:], places[half:]),
        )
        return first[0] + second[0], first[1] + second[1]
    return [done], [error.at(places[error.index]) for error in done.errors]


def _named(one: Any, message_id: str, index: int) -> Any:
    """An event that would be given the present as its time, and so another id whenever the message is read again."""
    if not isinstance(one, Mapping) or one.get("event_id") is not None or one.get("timestamp") is not None:
        return one
    return {**one, "event_id": "m" + sha256(f"{message_id}\x1f{index}".encode()).hexdigest()[:32]}


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
