"""Reads a history that a request brings along; nothing of it is stored."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ingest.errors import InvalidInputError
from ingest.events import Event, parse_event
from ingest.settings import Settings

PREFERRED_TYPE = "like"
_KEYS = {"item_id", "type", "value", "timestamp"}
_ALWAYS = datetime.min.replace(tzinfo=UTC)


def parse_inline_history(history: Sequence[Any], settings: Settings) -> tuple[Event, ...]:
    """Read `[{"item_id", "type"?, "value"?, "timestamp"?}]`; without a type an entry counts as something liked.

    Raises InvalidInputError naming the entry that does not fit, or when there are more than the history limit.
    """
    if len(history) > settings.history_limit:
        detail = f"a history may have at most {settings.history_limit} entries"
        raise InvalidInputError("history_too_long", detail, "history")
    return tuple(_parse_entry(entry, position, settings) for position, entry in enumerate(history))


def newest_first(events: Sequence[Event]) -> list[Event]:
    """In the order of stored histories: by time, what has none being the oldest; of one time the last given first."""
    return sorted(events, key=lambda event: event.timestamp or _ALWAYS)[::-1]


def _parse_entry(entry: Any, position: int, settings: Settings) -> Event:
    place = f"history.{position}"
    if not isinstance(entry, Mapping) or not entry.keys() <= _KEYS:
        detail = "a history entry is an object with item_id and optionally type, value and timestamp"
        raise InvalidInputError("invalid_history", detail, place)
    # The parser of stored events knows what fits; an inline entry lends it a user and an event id.
    whole = {"type": _default_type(settings), **entry, "user_id": "inline", "event_id": f"inline-{position}"}
    try:
        return parse_event(whole, settings.event_weights.keys(), now=None)
    except InvalidInputError as error:
        field = f"{place}.{error.field}" if error.field else place
        raise InvalidInputError(error.code, error.detail, field) from error


def _default_type(settings: Settings) -> str:
    if PREFERRED_TYPE in settings.event_weights:
        return PREFERRED_TYPE
    return max(settings.event_weights, key=lambda name: settings.event_weights[name])
