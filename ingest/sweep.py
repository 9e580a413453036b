"""What no message reached, or what a lost worker had, is asked for again: the queue may lose anything."""

from ingest.chunks import chunks
from ingest.queue import Queue
from ingest.reconcile import batch_size
from ingest.settings import Settings
from ingest.store.ledger import Ledger

AWAY_SECONDS = 1.0  # until what the broker would not take is tried again
MESSAGES_WAITING = 64  # more would not be done sooner, and be sent again and again while they wait


def sweep(settings: Settings, ledger: Ledger, queue: Queue) -> int:
    """Ask again for what is due; returns how many items. Items that lost workers before go in smaller batches.

    Asks for nothing more while a full queue's worth of items waits already.
    """
    if not ledger.pending.is_due():
        return 0
    most = settings.batch_items * MESSAGES_WAITING
    room = most - ledger.pending.told(most)
    if room <= 0:
        return 0
    due = ledger.pending.due(min(room, settings.batch_items * 8), put_off=settings.redeliver_seconds)
    by_size: dict[int, list[str]] = {}
    for item_id, attempts in due:
        by_size.setdefault(batch_size(attempts, settings.batch_items), []).append(item_id)
    for size, item_ids in sorted(by_size.items(), reverse=True):
        for batch in chunks(item_ids, size):
            if not queue.wake(batch):
                ledger.pending.make_due(batch, due_in=AWAY_SECONDS)
    return len(due)
