"""Which events are training and which items are the answers sought. No event of a test period is ever in training.

Whether a rating is positive, all ratings of its user say, those of the test period too; akin's own trainings never ask.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Literal

from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.settings import Settings

Kind = Literal["global", "user", "random"]
Histories = dict[str, list[Event]]  # each user's events in their order

KINDS = ("auto", "global", "user", "random")
HELD_OUT_SHARE = 0.2
LEAST_POSITIVES = 5
LEAST_ASKED = 50  # fewer users than that after a cut in time say nothing, and `auto` asks every user instead
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Split:
    """`relevant`: by user, the items of held-out positives that training does not show the user already."""

    kind: Kind
    train: tuple[Event, ...]
    positives: tuple[Event, ...]  # the training events that say somebody liked something
    relevant: Mapping[str, frozenset[str]]
    cut: datetime | None = None  # where a global split has its test period begin

    @property
    def description(self) -> str:
        """One sentence on how the events were split."""
        if self.cut is not None:
            return f"global: everything from {self.cut:%Y-%m-%d %H:%M} UTC on is held out"
        if self.kind == "random":
            return f"random: {HELD_OUT_SHARE:.0%} of each user's positive events are held out, whenever they happened"
        order = "time" if any(event.timestamp for event in self.train) else "file"
        return f"user: the last {HELD_OUT_SHARE:.0%} of each user's positive events in {order} order are held out"


def check_kind(kind: str) -> None:
    """Raise InvalidInputError unless there is a split of that name."""
    if kind not in KINDS:
        raise InvalidInputError("unknown_split", f"split is one of {', '.join(KINDS)}", "split")


def split_events(
    events: Sequence[Event], item_ids: Collection[str], settings: Settings, *, kind: str = "auto", seed: int = 1
) -> Split:
    """Split events given in file order; only users with five positive events or more are asked about.

    `global` cuts once, at the time that leaves the last 20 % of all positives, so that nobody's past is told by what
    others did later; it needs a time for every event. `user` holds out the last 20 % of each user's positives, at least
    one, in the order of time and then of the file, and all that follows the first of them. `random` draws each user's
    order instead: it lets training see the future, which flatters every method that learns, and is there to compare
    with figures published that way. `auto` is `global` where every event has a time and the cut leaves at least 50
    users to ask about, else `user`. Positives on items outside `item_ids` do not count. Raises InvalidInputError when
    the kind does not fit the events or leaves nobody to ask about.
    """
    check_kind(kind)
    if kind == "global" and not all(event.timestamp for event in events):
        raise InvalidInputError("no_timestamps", "a global split needs a timestamp in every event", "split")
    histories: Histories = defaultdict(list)
    for event in sorted(events, key=lambda event: event.timestamp or _ALWAYS):  # stable: ties stay in file order
        histories[event.user_id].append(event)
    if kind == "random":
        shuffle = Random(seed).shuffle  # noqa: S311 - a draw, not a secret
        for user in sorted(histories):
            shuffle(histories[user])
    liked = {event.event_id for history in histories.values() for event in positives(history, settings)}
    liked = {event.event_id for event in events if event.event_id in liked and event.item_id in item_ids}
    found = _cut(kind, histories, liked)
    if not found.relevant:
        raise InvalidInputError(
            "too_few_events", f"no user has {LEAST_POSITIVES} positive events on known items and one held out"
        )
    return found


def _cut(kind: str, histories: Histories, liked: Collection[str]) -> Split:
    timed = all(event.timestamp for history in histories.values() for event in history)
    if kind == "global" or (kind == "auto" and timed and liked):
        found = _global(histories, liked)
        if kind == "global" or len(found.relevant) >= LEAST_ASKED:
            return found
    return _by_user("random" if kind == "random" else "user", histories, liked)


def positives(history: Sequence[Event], settings: Settings) -> Iterator[Event]:
    """A user's events that show liking: ratings at or above the user's own mean, others with a positive weight."""
    ratings = [event.value for event in history if event.type in settings.rating_types and event.value is not None]
    mean = sum(ratings) / len(ratings) if ratings else 0.0
    for event in history:
        if settings.event_weights.get(event.type, 0.0) <= 0:
            continue
        if event.type not in settings.rating_types or event.value is None or event.value >= mean:
            yield event


def _global(histories: Histories, liked: Collection[str]) -> Split:
    times = sorted(_time(event) for history in histories.values() for event in history if event.event_id in liked)
    if not times:
        raise InvalidInputError("too_few_events", "no event is positive and on a known item")
    cut = times[min(int(len(times) * (1 - HELD_OUT_SHARE)), len(times) - 1)]
    starts = {user: sum(_time(event) < cut for event in history) for user, history in histories.items()}
    return _split("global", histories, liked, starts, cut)


def _by_user(kind: Kind, histories: Histories, liked: Collection[str]) -> Split:
    starts = {}
    for user, history in histories.items():
        places = [place for place, event in enumerate(history) if event.event_id in liked]
        held_out = max(1, int(len(places) * HELD_OUT_SHARE))
        starts[user] = places[-held_out] if len(places) >= LEAST_POSITIVES else len(history)
    return _split(kind, histories, liked, starts, None)


def _split(
    kind: Kind, histories: Histories, liked: Collection[str], starts: Mapping[str, int], cut: datetime | None
) -> Split:
    train: list[Event] = []
    relevant: dict[str, frozenset[str]] = {}
    for user, history in histories.items():
        before, after = history[: starts[user]], history[starts[user] :]
        train += before
        known = [event for event in before if event.event_id in liked]
        sought = {event.item_id for event in after if event.event_id in liked}
        sought -= {event.item_id for event in before}
        if known and sought and sum(event.event_id in liked for event in history) >= LEAST_POSITIVES:
            relevant[user] = frozenset(sought)
    train.sort(key=lambda event: event.timestamp or _ALWAYS)
    shown = tuple(event for event in train if event.event_id in liked)
    return Split(kind=kind, train=tuple(train), positives=shown, relevant=relevant, cut=cut)


def _time(event: Event) -> datetime:
    return event.timestamp or _ALWAYS
