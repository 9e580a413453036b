"""What akin knows of one user, shown, handed out and erased."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.events import Event
from ingest.items import Item, StoredItem, check_id
from ingest.store.ledger import Ledger
from ingest.store.records import ErasureReceipt, HistoryEntry, LoggedRecommendation
from serving.learned import Learned
from serving.live import LiveIndex
from serving.profile import Weighed, weigh
from serving.recommend import Recommender

MOST_INTERESTS = 20


@dataclass(frozen=True, kw_only=True)
class PastEvent:
    """One event of a history: its weight now, and whether its item stands in the live generation."""

    event: Event
    weight: float
    placed: bool


@dataclass(frozen=True, kw_only=True)
class Interest:
    """A category and its share of the history's positive weight, 0..1."""

    category: str
    share: float
    events: int


@dataclass(frozen=True, kw_only=True)
class Interests:
    """A user's interests, strongest first; `uncategorised` is the share of items that name no category."""

    interests: tuple[Interest, ...]
    uncategorised: float
    events: int
    generation: str


@dataclass(frozen=True, kw_only=True)
class Export:
    """Everything that is kept of a user: events and the answers that were given to them, newest first."""

    events: tuple[Event, ...]
    recommendations: tuple[LoggedRecommendation, ...]


class Users:
    """Reads and erases what belongs to a user."""

    def __init__(
        self,
        ledger: Ledger,
        live: LiveIndex,
        learned: Learned,
        recommender: Recommender,
    ) -> None:
        self._ledger = ledger
        self._live = live
        self._learned = learned
        self._recommender = recommender

    def history(self, user_id: str) -> list[PastEvent]:
        """The events that count, newest first; empty for an unknown user."""
        _, weighed = self._weighed(user_id)
        return [
            PastEvent(event=entry.event, weight=weight, placed=entry.version is not None) for entry, weight in weighed
        ]

    def interests(self, user_id: str) -> Interests:
        """The categories of what the user liked; an item of several categories gives each an equal part."""
        generation, weighed = self._weighed(user_id)
        liked = [(entry, weight) for entry, weight in weighed if weight > 0]
        items = self._ledger.items.get_many({entry.event.item_id for entry, _ in liked})
        total = sum(weight for _, weight in liked)
        shares: defaultdict[str | None, float] = defaultdict(float)
        counts: defaultdict[str | None, int] = defaultdict(int)
        for category, weight in _by_category(liked, items):
            shares[category] += weight / total
            counts[category] += 1
        uncategorised = shares.pop(None, 0.0)
        ranked = sorted(((share, name) for name, share in shares.items() if name), key=lambda pair: (-pair[0], pair[1]))
        named = tuple(Interest(category=name, share=share, events=counts[name]) for share, name in ranked)
        return Interests(
            interests=named[:MOST_INTERESTS], uncategorised=uncategorised, events=len(weighed), generation=generation
        )

    def export(self, user_id: str) -> Export:
        """Every event of the user and every answer that is logged; what was answered within a second may lack."""
        check_id(user_id, "user_id")
        return Export(
            events=tuple(self._ledger.events.for_user(user_id)),
            recommendations=tuple(self._ledger.recommendations.for_user(user_id)),
        )

    def erase(self, user_id: str) -> ErasureReceipt:
        """Remove the user's events, log entries and what is kept in memory; a salted tombstone stays."""
        check_id(user_id, "user_id")
        receipt = self._ledger.users.delete(user_id)
        self._recommender.forget(user_id)  # after: nothing of the user can be read into it any more
        return receipt

    def _weighed(self, user_id: str) -> tuple[str, list[Weighed]]:
        check_id(user_id, "user_id")
        generation = self._live.current().generation.name
        settings = self._learned.settings()  # as answers weigh it
        history: Sequence[HistoryEntry] = self._ledger.events.history(user_id, generation, settings.history_limit)
        return generation, weigh(history, settings)


def _by_category(liked: Sequence[Weighed], items: dict[str, StoredItem]) -> Iterator[tuple[str | None, float]]:
    for entry, weight in liked:
        stored = items.get(entry.event.item_id)
        categories: Sequence[str | None] = _categories(stored.item) if stored is not None else (None,)
        for category in categories:
            yield category, weight / len(categories)


def _categories(item: Item) -> Sequence[str | None]:
    return tuple(dict.fromkeys(item.categories)) or (None,)
