"""Celery inside the process: a worker thread, a beat thread and a maintenance thread, on the in-memory broker."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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

logger = logging.getLogger(__name__)

START_SECONDS = 20.0
STOP_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a worker that ran for so long has nothing to do with why the one before it ended
LONGEST_PAUSE_SECONDS = 30.0  # until a worker that ended is started again
TOO_OFTEN = 3  # endings in a row


class LastingWorker:
    """A Celery worker of one thread, started again whenever it ends: what it was at is in the ledger, and found there.

    Celery ends such a worker for some errors, such as a lack of memory outside a task, and nobody else would work.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._told_to_stop = threading.Event()
        self._endings = 0
        self._steady_at = 0.0
        self.ready = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        while not self._told_to_stop.is_set():
            self._steady_at = time.monotonic() + STEADY_SECONDS
            self._work()
            if self._told_to_stop.is_set():
                return
            self._endings = 1 if time.monotonic() > self._steady_at else self._endings + 1
            pause = min(2.0 ** (self._endings - 1), LONGEST_PAUSE_SECONDS)
            self._steady_at = time.monotonic() + pause + STEADY_SECONDS
            logger.error("the worker ended; it starts again", extra={"times": self._endings, "seconds": pause})
            self._told_to_stop.wait(pause)

    def stop(self) -> None:
        """Have `run` end with the worker that is at work, or in the pause after one."""
        self._told_to_stop.set()

    def check(self) -> None:
        """Raises UnavailableError when it has ended several times in a row, and not run steadily since."""
        if self._endings >= TOO_OFTEN and time.monotonic() < self._steady_at:
            raise UnavailableError(f"the worker ended {self._endings} times in a row; the log says why")

    def _work(self) -> None:
        try:
            WorkController(
                app=self._app,
                pool="solo",
                concurrency=1,
                hostname="embedded@akin",
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                ready_callback=lambda _: self.ready.set(),
            ).start()
        except BaseException:  # the thread must outlive whatever ends the worker
            logger.exception("the worker failed")


@contextmanager
def embedded_worker(app: Celery, resources: Resources, upkeep: Upkeep) -> Iterator[Mapping[str, Callable[[], None]]]:
    """Run tasks, the schedule and the maintenance in threads of this process until the block ends.

    Gives what asks whether they run, by name. The task under way is finished first; what is still queued is in the
    ledger, and found at the next start.
    """
    register(app, lambda: resources, lambda: Intake(settings=resources.settings, ledger=resources.ledger))
    app.conf.beat_schedule = beat_schedule(resources.settings)
    # A worker outside the `celery` program must do these three itself, or every task is "not registered".
    app.finalize()
    app.set_current()
    app.set_default()
    worker, queue, stop = LastingWorker(app), CeleryQueue(app), threading.Event()
    threads = [
        threading.Thread(target=worker.run, name="worker", daemon=True),
        threading.Thread(target=upkeep.run, args=(stop,), name="maintenance", daemon=True),
    ]
    beat = EmbeddedService(app, thread=True, scheduler_cls=Scheduler)
    beat.daemon = True
    for thread in (*threads, beat):
        thread.start()
    if not worker.ready.wait(START_SECONDS):
        raise UnavailableError(f"the worker did not start within {START_SECONDS:.0f} s")
    try:
        yield {"worker": worker.check}
    finally:
        stop.set()
        worker.stop()
        state.should_stop = 0  # what Celery's own signal handlers set: finish the task under way, then leave
        # The worker waits up to two seconds for a message, and once more after it has seen that it should leave.
        queue.wake([])
        queue.wake([])
        beat.stop()
        for thread in threads:
            thread.join(STOP_SECONDS)
        state.should_stop = None
