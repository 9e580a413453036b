"""Celery inside the process: a worker thread, a beat thread and a maintenance thread, on the in-memory broker."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from celery.beat import EmbeddedService, Scheduler
from celery.worker import WorkController, state

from ingest.errors import AkinError, UnavailableError
from ingest.reconcile import sweep
from workers.app import CeleryQueue
from workers.resources import Resources
from workers.schedule import beat_schedule
from workers.tasks import register

logger = logging.getLogger(__name__)

START_SECONDS = 20.0
STOP_SECONDS = 30.0
UPKEEP_SECONDS = 1.0


@contextmanager
def embedded_worker(app: Celery, resources: Resources) -> Iterator[None]:
    """Run tasks, the schedule and the maintenance in threads of this process until the block ends.

    The task under way is finished first; what is still queued is in the ledger, and found at the next start.
    """
    register(app, lambda: resources)
    app.conf.beat_schedule = beat_schedule(resources.settings)
    # A worker outside the `celery` program must do these three itself, or every task is "not registered".
    app.finalize()
    app.set_current()
    app.set_default()
    ready = threading.Event()
    worker = WorkController(
        app=app,
        pool="solo",
        concurrency=1,
        hostname="embedded@akin",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        ready_callback=lambda _: ready.set(),
    )
    queue, stop = CeleryQueue(app), threading.Event()
    threads = [
        threading.Thread(target=worker.start, name="worker", daemon=True),
        threading.Thread(target=_maintain, args=(resources, queue, stop), name="maintenance", daemon=True),
    ]
    beat = EmbeddedService(app, thread=True, scheduler_cls=Scheduler)
    beat.daemon = True
    for thread in (*threads, beat):
        thread.start()
    if not ready.wait(START_SECONDS):
        raise UnavailableError(f"the worker did not start within {START_SECONDS:.0f} s")
    try:
        yield
    finally:
        stop.set()
        state.should_stop = 0  # what Celery's own signal handlers set: finish the task under way, then leave
        # The worker waits up to two seconds for a message, and once more after it has seen that it should leave.
        queue.wake([])
        queue.wake([])
        beat.stop()
        for thread in threads:
            thread.join(STOP_SECONDS)
        state.should_stop = None
        resources.reindexer.close()
        resources.trainer.close()


def _maintain(resources: Resources, queue: CeleryQueue, stop: threading.Event) -> None:
    """Find what is pending, and take a generation under way further, again and again."""
    upkeep_at = 0.0
    while not stop.wait(resources.settings.sweep_seconds):
        try:
            sweep(resources.settings, resources.ledger, queue)
            if time.monotonic() >= upkeep_at:
                _upkeep(resources)
                upkeep_at = time.monotonic() + UPKEEP_SECONDS
        except AkinError as error:
            logger.warning("maintenance put off", extra={"reason": str(error)})
        except Exception:
            logger.exception("maintenance failed; it goes on")


def _upkeep(resources: Resources) -> None:
    resources.trainer.advance()
    if resources.reindexer.advance() is None and resources.reindexer.rebuild_is_due():
        resources.reindexer.request()
