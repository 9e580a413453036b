"""Accepted means committed; what is refused says why and where; the queue hears only of what changed."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from ingest.errors import StorageFullError
from ingest.events import Event
from ingest.items import Item
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Job
from ingest.submit import RefusedPart, delete_items, submit_events, submit_items


@dataclass
class ListQueue:
    """Keeps messages, or takes none, like a broker that is away."""

    away: bool = False
    messages: list[list[str]] = field(default_factory=list)

    def wake(self, item_ids: Any) -> bool:
        if not self.away:
            self.messages.append(list(item_ids))
        return not self.away

    def ping(self) -> None: ...


@pytest.fixture
def queue() -> ListQueue:
    return ListQueue()


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    return sqlite_ledger


def item(item_id: str, text: str = "text", version: int | None = None) -> Item:
    return Item(item_id=item_id, text=text, version=version)


def event(event_id: str, user: str = "u") -> Event:
    return Event(event_id=event_id, user_id=user, item_id="a", type="view")


def job(ledger: Ledger, job_id: str) -> Job:
    found = ledger.jobs.get(job_id)
    assert found is not None
    return found


def test_items_are_committed_and_a_worker_is_woken(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    submission = submit_items(ledger, queue, settings, [item("a"), item("b")])

    assert (submission.accepted, submission.unchanged, submission.errors) == (2, 0, ())
    assert queue.messages == [["a", "b"]]
    assert ledger.items.count() == 2
    assert (job(ledger, submission.job_id).total, job(ledger, submission.job_id).state) == (2, "queued")
    assert ledger.pending.due(10, put_off=0) == []  # the message is on its way; the sweep need not ask


def test_what_the_broker_does_not_take_is_due_at_once(ledger: Ledger, settings: Settings) -> None:
    submission = submit_items(ledger, ListQueue(away=True), settings, [item("a")])

    assert submission.accepted == 1
    assert ledger.pending.due(10, put_off=0) == [("a", 0)]


def test_unchanged_items_are_accepted_and_wake_nobody(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    submit_items(ledger, queue, settings, [item("a")])
    queue.messages.clear()

    submission = submit_items(ledger, queue, settings, [item("a")])

    assert (submission.accepted, submission.unchanged, queue.messages) == (1, 1, [])


def test_refused_items_are_told_by_their_place_in_the_submission(
    ledger: Ledger, queue: ListQueue, settings: Settings
) -> None:
    submit_items(ledger, queue, settings, [item("old", version=5), item("gone")])
    delete_items(ledger, queue, settings, ["gone"])
    queue.messages.clear()

    submission = submit_items(ledger, queue, settings, [item("new"), item("old", "x", version=4), item("gone")])

    assert submission.accepted == 1
    assert [(e.index, e.item_id, e.code) for e in submission.errors] == [
        (1, "old", "stale_version"),
        (2, "gone", "item_deleted"),
    ]
    assert "version 5" in submission.errors[0].detail
    assert "version above 2" in submission.errors[1].detail
    assert queue.messages == [["new"]]
    assert job(ledger, submission.job_id).total == 1


def test_a_large_submission_goes_out_in_batches(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    settings = settings.model_copy(update={"batch_items": 400})

    submission = submit_items(ledger, queue, settings, [item(f"i{n}") for n in range(2_100)])

    assert submission.accepted == 2_100
    assert [len(message) for message in queue.messages] == [400, 400, 200, 400, 400, 200, 100]
    assert job(ledger, submission.job_id).total == 2_100


def test_errors_past_the_first_thousand_keep_their_place(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    submit_items(ledger, queue, settings, [item("old", version=5)])

    items = [item(f"i{n}") for n in range(1_500)] + [item("old", "x", version=1)]
    submission = submit_items(ledger, queue, settings, items)

    assert [error.index for error in submission.errors] == [1_500]


def test_a_submission_can_add_to_a_job(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    job_id = ledger.jobs.begin("file")

    for n in range(3):
        assert submit_items(ledger, queue, settings, [item(f"i{n}")], job_id=job_id).job_id == job_id

    assert job(ledger, job_id).total == 3


def test_deletions_wake_a_worker_once(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    submit_items(ledger, queue, settings, [item("a"), item("b")])
    queue.messages.clear()

    first = delete_items(ledger, queue, settings, ["a", "never there", "a"])
    second = delete_items(ledger, queue, settings, ["a"])

    assert queue.messages == [["a"]]
    assert (first.accepted, first.unchanged, first.errors) == (2, 1, ())
    assert (second.accepted, second.unchanged) == (1, 1)
    assert job(ledger, second.job_id).state == "done"


def test_a_deletion_that_cannot_be_written_is_told_by_its_place(
    ledger: Ledger, queue: ListQueue, settings: Settings
) -> None:
    submit_items(ledger, queue, settings, [item("a"), item("last", version=2**63 - 1)])

    submission = delete_items(ledger, queue, settings, ["a", "a", "last"])

    assert submission.accepted == 1
    assert [(e.index, e.item_id, e.code) for e in submission.errors] == [(2, "last", "stale_version")]
    assert job(ledger, submission.job_id).total == 1


def test_items_can_be_deleted_on_a_full_disk(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    submit_items(ledger, queue, settings, [item("a")])

    delete_items(ledger, queue, settings.model_copy(update={"min_free_bytes": 2**62}), ["a"])

    assert ledger.items.count() == 0


def test_events_of_deleted_users_are_refused_and_the_others_taken(ledger: Ledger, settings: Settings) -> None:
    ledger.users.delete("Ann")

    submission = submit_events(ledger, settings, [event("1"), event("2", user="Ann"), event("1"), event("3")])

    assert (submission.accepted, submission.duplicates) == (3, 1)
    assert [(e.index, e.code) for e in submission.errors] == [(1, "user_deleted")]
    assert ledger.events.count() == 2
    assert "Ann" not in repr(submission)


def test_an_event_sent_twice_counts_as_a_duplicate(ledger: Ledger, settings: Settings) -> None:
    submit_events(ledger, settings, [event("1")])

    submission = submit_events(ledger, settings, [event("1")])

    assert (submission.accepted, submission.duplicates, submission.errors) == (1, 1, ())


def test_nothing_is_written_when_the_disk_is_full(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    full = settings.model_copy(update={"min_free_bytes": 2**62})

    with pytest.raises(StorageFullError, match="AKIN_MIN_FREE_BYTES"):
        submit_items(ledger, queue, full, [item("a")])
    with pytest.raises(StorageFullError):
        submit_events(ledger, full, [event("1")])

    assert (ledger.items.count(), ledger.events.count(), queue.messages) == (0, 0, [])


def test_an_error_never_repeats_a_text(ledger: Ledger, queue: ListQueue, settings: Settings) -> None:
    submit_items(ledger, queue, settings, [item("a", version=2)])

    [error] = submit_items(ledger, queue, settings, [item("a", "secret", version=1)]).errors

    assert isinstance(error, RefusedPart)
    assert "secret" not in repr(error)
