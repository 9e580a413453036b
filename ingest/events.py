"""What an event is, and how one is read from outside data."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a user did with an item. `timestamp` is aware UTC, or None where the source has no time."""

    event_id: str
    user_id: str
    item_id: str
    type: str
    value: float | None = None
    timestamp: datetime | None = None
    dwell_ms: int | None = None
    recommendation_id: str | None = None
