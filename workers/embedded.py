"""Celery inside the process: a worker thread, a beat thread and a maintenance thread, on the in-memory broker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from celery.beat import EmbeddedService, Scheduler
from celery.worker import WorkController, state

from ingest.errors import UnavailableError
from workers.app import CeleryQueue
from workers.resources import Intake, Resources
from workers.schedule import beat_schedule
from workers.tasks import register
from workers.upkeep import Upkeep

START_SECONDS = 20.0
STOP_SECONDS = 30.0


@contextmanager
def embedded_worker(app: Celery, resources: Resources, upkeep: Upkeep) -> Iterator[None]:
    """Run tasks, the schedule and the maintenance in threads of this process until the block ends.

    The task under way is finished first; what is still queued is in the ledger, and found at the next start.
    """
    register(app, lambda: resources, lambda: Intake(settings=resources.settings, ledger=resources.ledger))
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
        threading.Thread(target=upkeep.run, args=(stop,), name="maintenance", daemon=True),
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
