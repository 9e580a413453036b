"""The sweep asks for what no message reached, in messages that fit what was lost before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.items import Item
from ingest.reconcile import batch_size
from ingest.submit import submit_items
from ingest.sweep import MESSAGES_WAITING, sweep
from tests.fakes import Installation, RecordingQueue, installation, let_time_pass


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as made:
        yield made


def item(item_id: str) -> Item:
    return Item(item_id=item_id, text=f"text of {item_id}")


def test_batches_are_bisected_after_two_losses() -> None:
    assert [batch_size(attempts, 256) for attempts in range(6)] == [256, 256, 16, 1, 1, 1]
    assert [batch_size(attempts, 1) for attempts in range(4)] == [1, 1, 1, 1]


def test_the_sweep_asks_for_what_no_message_reached(akin: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.sweep.AWAY_SECONDS", 10)  # less than until a message is sent again, more than a moment
    queue = RecordingQueue(away=True)
    ids = [f"i{n}" for n in range(300)]
    submit_items(akin.ledger, queue, akin.settings, list(map(item, ids)))
    assert sweep(akin.settings, akin.ledger, queue) == 300
    assert sweep(akin.settings, akin.ledger, queue) == 0  # the broker is away, and not asked again at once

    queue.away = False
    let_time_pass(akin.ledger, 10)
    assert sweep(akin.settings, akin.ledger, queue) == 300

    assert [len(batch) for batch in queue.messages] == [akin.settings.batch_items, 300 - akin.settings.batch_items]
    assert sorted(i for batch in queue.messages for i in batch) == sorted(ids)
    assert sweep(akin.settings, akin.ledger, queue) == 0  # the messages are on their way


def test_the_sweep_sends_no_more_than_a_queue_full_of_messages(tmp_path: Path) -> None:
    with installation(tmp_path, batch_items=2) as akin:
        queue = RecordingQueue()
        submit_items(akin.ledger, akin.queue, akin.settings, [item(f"i{n}") for n in range(3 * MESSAGES_WAITING)])
        akin.ledger.pending.make_due()

        while sweep(akin.settings, akin.ledger, queue):
            pass

        assert len(queue.messages) == MESSAGES_WAITING
