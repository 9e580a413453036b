"""What an event is, and how one is read from outside data."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from msgspec import Struct

from ingest.attributes import check_number
from ingest.errors import InvalidInputError
from ingest.ids import check_id
from ingest.times import format_time, parse_time

MAX_TYPE_CHARS = 64
MAX_RECOMMENDATION_ID_CHARS = 64  # akin's own are shorter
MAX_VALUE = 1e12
MAX_DWELL_MS = 7 * 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_AHEAD = timedelta(days=1)  # a clock that is further ahead is wrong
_FIELDS = frozenset({"event_id", "user_id", "item_id", "type", "value", "timestamp", "dwell_ms", "recommendation_id"})


class Event(Struct, frozen=True, kw_only=True):
    """What a user did with an item. `timestamp` is aware UTC, or None where the source has no time.

    A struct and no dataclass, because every recommendation makes one for each event of a history: 0.3 against 5 us.
    """

    event_id: str
    user_id: str
    item_id: str
    type: str
    value: float | None = None
    timestamp: datetime | None = None
    dwell_ms: int | None = None
    recommendation_id: str | None = None


def parse_event(data: Any, types: Collection[str], *, now: datetime | None) -> Event:
    """An event from parsed JSON; null counts as absent. `now` stands in for an absent timestamp (None: leave it so).

    An event without an id gets one that follows from its content, so that reading a file twice stores nothing twice.
    Raises InvalidInputError with a stable code and the field.
    """
    if not isinstance(data, Mapping):
        raise InvalidInputError("wrong_type", "an event must be an object of fields")
    _check_fields(data)
    user_id = check_id(data.get("user_id"), "user_id")
    item_id = check_id(data.get("item_id"), "item_id")
    type_ = _type(data.get("type"), types)
    value = _value(data.get("value"))
    timestamp = _timestamp(data.get("timestamp"), now)
    event_id, recommendation_id = data.get("event_id"), data.get("recommendation_id")
    return Event(
        event_id=derived_id(user_id, item_id, type_, value, timestamp)
        if event_id is None
        else check_id(event_id, "event_id"),
        user_id=user_id,
        item_id=item_id,
        type=type_,
        value=value,
        timestamp=timestamp,
        dwell_ms=_dwell_ms(data.get("dwell_ms")),
        recommendation_id=None
        if recommendation_id is None
        else check_id(recommendation_id, "recommendation_id", MAX_RECOMMENDATION_ID_CHARS),
    )


def derived_id(user_id: str, item_id: str, type_: str, value: float | None, timestamp: datetime | None) -> str:
    """The id of an event that came without one: `h` and 32 hex digits over what happened."""
    parts = (user_id, item_id, type_, repr(value), format_time(timestamp) if timestamp else "")
    # Ids are printable, so the separator cannot occur inside one and no two events share a digest by accident.
    return "h" + sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def _check_fields(data: Mapping[Any, Any]) -> None:
    unknown = data.keys() - _FIELDS
    if unknown:
        raise InvalidInputError(
            "unknown_field",
            f"the event has a field that is none of {', '.join(sorted(_FIELDS))}",
            min((name for name in unknown if isinstance(name, str) and name.isidentifier()), default=None),
        )


def _type(value: Any, types: Collection[str]) -> str:
    type_ = check_id(value, "type", MAX_TYPE_CHARS)
    if type_ not in types:
        raise InvalidInputError("unknown_event_type", f"type must be one of {', '.join(sorted(types))}", "type")
    return type_


def _value(value: Any) -> float | None:
    if value is None:
        return None
    number = check_number(value, "value", "a number between -1e12 and 1e12")
    if abs(number) > MAX_VALUE:
        raise InvalidInputError("value", "value must be a number between -1e12 and 1e12", "value")
    return float(number) + 0.0  # -0.0 becomes 0.0: equal values must give equal ids


def _timestamp(value: Any, now: datetime | None) -> datetime | None:
    if value is None:
        return now
    try:
        timestamp = parse_time(value)
    except ValueError as error:
        raise InvalidInputError("timestamp", f"timestamp {error}", "timestamp") from error
    if timestamp < _EPOCH:
        raise InvalidInputError("timestamp", "timestamp must not lie before 1970", "timestamp")
    if timestamp - (now or datetime.now(UTC)) > _MOST_AHEAD:
        raise InvalidInputError(
            "future_timestamp", "timestamp lies too far in the future; is the clock right?", "timestamp"
        )
    return timestamp


def _dwell_ms(value: Any) -> int | None:
    if value is None:
        return None
    number = check_number(value, "dwell_ms", "an integer of milliseconds, 0 to one week")
    if number != int(number) or not 0 <= number <= MAX_DWELL_MS:
        raise InvalidInputError("dwell_ms", "dwell_ms must be an integer of milliseconds, 0 to one week", "dwell_ms")
    return int(number)
