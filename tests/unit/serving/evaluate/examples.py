"""Events and trials that several tests of the evaluation use."""

from datetime import UTC, datetime, timedelta

from ingest.events import Event
from ingest.settings import Settings
from serving.evaluate.split import split_events
from serving.evaluate.trial import make_trial

START = datetime(2024, 1, 1, tzinfo=UTC)
SETTINGS = Settings()


def event(user, item, *, type_="like", value=None, day=None):
    timestamp = None if day is None else START + timedelta(days=day)
    return Event(
        event_id=f"{user}-{item}-{day}", user_id=user, item_id=item, type=type_, value=value, timestamp=timestamp
    )


def likes(user, *items, first_day=None):
    days = [None] * len(items) if first_day is None else range(first_day, first_day + len(items))
    return [event(user, item, day=day) for item, day in zip(items, days, strict=True)]


def small_trial(*, timed=False, users=None, seed=1):
    """Four users who like neighbouring items of ten; item i9 has no event."""
    given = [
        one
        for number, user in enumerate(("ann", "ben", "cem", "dan"))
        for one in likes(user, *(f"i{(number + step) % 9}" for step in range(5)), first_day=number if timed else None)
    ]
    items = [f"i{number}" for number in range(10)]
    return make_trial(split_events(given, items, SETTINGS), items, users=users, seed=seed)
