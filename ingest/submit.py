"""Taking in items, events and deletions: accepted means committed to the ledger; the queue is told afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ingest.chunks import chunks
from ingest.disk import check_free_space
from ingest.events import Event
from ingest.items import Item
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.items import WriteOutcome
from ingest.store.ledger import Ledger

ITEM_MOVED = "item_moved"


@dataclass(frozen=True, kw_only=True)
class RefusedPart:
    """Why one item or event was refused, or a message as a whole; `index` is its place in what was sent, from 0."""

    index: int
    item_id: str | None
    code: str
    detail: str

    def at(self, place: int) -> "RefusedPart":
        """The same at another place: a submission counts its valid parts, who sent them counts all."""
        return replace(self, index=place)

    def as_json(self) -> dict[str, Any]:
        """As answers list it."""
        return {"index": self.index, "item_id": self.item_id, "code": self.code, "detail": self.detail}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What became of a batch of items. `accepted` counts the unchanged too; `delayed`: no worker could be woken."""

    job_id: str
    accepted: int
    unchanged: int
    errors: tuple[RefusedPart, ...] = ()
    delayed: bool = False


@dataclass(frozen=True, kw_only=True)
class EventSubmission:
    """What became of a batch of events. `accepted` counts the duplicates too."""

    accepted: int
    duplicates: int
    errors: tuple[RefusedPart, ...] = ()


def submit_items(
    ledger: Ledger,
    queue: Queue,
    settings: Settings,
    items: Sequence[Item],
    *,
    revive: bool = False,
    job_id: str | None = None,
    over: int | None = None,
) -> Submission:
    """Commit items and wake a worker. A deleted item comes back only with a higher version, or with `revive`.

    `job_id` adds to a job that was begun before. With `over`, only this very version of an item is changed; the code of
    the others is `item_moved`. Raises StorageFullError before anything is written.
    """
    check_free_space(settings.home, settings.min_free_bytes)
    job = job_id or ledger.jobs.begin("items")
    outcomes: list[WriteOutcome] = []
    told = True
    for some in chunks(items):
        written = ledger.items.write(some, job_id=job, revive=revive, due_in=settings.redeliver_seconds, over=over)
        ledger.jobs.grow(job, sum(w.outcome in {"changed", "unchanged"} for w in written))
        told &= wake(ledger, queue, [w.item_id for w in written if w.outcome == "changed"], settings.batch_items)
        outcomes += written
    errors = [_refused_item(i, w) for i, w in enumerate(outcomes) if w.outcome not in {"changed", "unchanged"}]
    return Submission(
        job_id=job,
        accepted=len(outcomes) - len(errors),
        unchanged=sum(w.outcome == "unchanged" for w in outcomes),
        errors=tuple(errors),
        delayed=not told,
    )


def delete_items(ledger: Ledger, queue: Queue, settings: Settings, item_ids: Sequence[str]) -> Submission:
    """Tombstone items and wake a worker. Ids that are not there, or no longer, are unchanged."""
    job = ledger.jobs.begin("delete")
    outcomes: list[WriteOutcome] = []
    told = True
    for some in chunks(item_ids):
        written = ledger.items.delete(some, job_id=job, due_in=settings.redeliver_seconds)
        ledger.jobs.grow(job, sum(w.outcome != "stale" for w in written))
        told &= wake(ledger, queue, [w.item_id for w in written if w.outcome == "changed"], settings.batch_items)
        outcomes += written
    places = {item_id: index for index, item_id in reversed(list(enumerate(item_ids)))}
    errors = [_refused_item(places[w.item_id], w) for w in outcomes if w.outcome == "stale"]
    return Submission(
        job_id=job,
        accepted=len(outcomes) - len(errors),
        unchanged=sum(w.outcome == "unchanged" for w in outcomes),
        errors=tuple(errors),
        delayed=not told,
    )


def submit_events(ledger: Ledger, settings: Settings, events: Sequence[Event]) -> EventSubmission:
    """Commit events. Those of deleted users are refused; those of unknown items are kept and joined later."""
    check_free_space(settings.home, settings.min_free_bytes)
    deleted = ledger.users.deleted({event.user_id for event in events})
    errors = [
        RefusedPart(
            index=index,
            item_id=event.item_id,
            code="user_deleted",
            detail="this user was deleted; its events are not taken any more",
        )
        for index, event in enumerate(events)
        if event.user_id in deleted
    ]
    welcome = [event for event in events if event.user_id not in deleted]
    new = ledger.events.add(welcome) if welcome else 0
    return EventSubmission(accepted=len(welcome), duplicates=len(welcome) - new, errors=tuple(errors))


def wake(ledger: Ledger, queue: Queue, item_ids: Sequence[str], batch_items: int) -> bool:
    """Send one message a batch. False: the broker would not take all; the rest is due for the sweep at once."""
    undelivered: list[str] = []
    for batch in chunks(dict.fromkeys(item_ids), batch_items):
        if not queue.wake(batch):
            undelivered += batch
    if undelivered:
        ledger.pending.make_due(undelivered)
    return not undelivered


def _refused_item(index: int, outcome: WriteOutcome) -> RefusedPart:
    if outcome.outcome == "stale":
        return RefusedPart(
            index=index,
            item_id=outcome.item_id,
            code="stale_version",
            detail=f"the record holds version {outcome.version}; only a higher version replaces it",
        )
    if outcome.outcome == "moved":
        return RefusedPart(
            index=index,
            item_id=outcome.item_id,
            code=ITEM_MOVED,
            detail="others changed this item again and again meanwhile; nothing was written, send it once more",
        )
    return RefusedPart(
        index=index,
        item_id=outcome.item_id,
        code="item_deleted",
        detail=f"this item was deleted; send it with a version above {outcome.version}, or PUT it by its id",
    )
