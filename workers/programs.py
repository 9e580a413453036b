"""`akin worker` and `akin beat`: Celery's own programs, given akin's tasks, schedule and logging."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

from billiard import pool as billiard_pool
from billiard.process import current_process
from celery import Celery, signals
from celery.beat import Scheduler, Service

from ingest.encoder.cpu import keep_to_own_cores
from ingest.logs import configure_logging
from ingest.waiting import wait_until_ready
from workers.resources import Intake, Resources
from workers.tasks import register
from workers.upkeep import Upkeep

logger = logging.getLogger(__name__)

UNREAD_TRIES = 50  # of 0.1 s, until a process of the pool ends although the worker has not read its last result

Opened = TypeVar("Opened")
Open = Callable[[], AbstractContextManager[Opened]]


class Lazy(Generic[Opened]):
    """Opens what tasks need when the first task of a process asks, in that process.

    A connection, an encoder or a thread must not cross a fork, and Celery ends a child whose start takes over 4 s.
    """

    def __init__(self, open_: Open[Opened]) -> None:
        self._open = open_
        self._stack = ExitStack()
        self._process = 0
        self._opened: Opened | None = None

    def __call__(self) -> Opened:
        """What this process has open."""
        if self._opened is None or self._process != os.getpid():
            self._stack, self._process = ExitStack(), os.getpid()
            self._opened = self._stack.enter_context(self._open())
        return self._opened

    def close(self) -> None:
        """Close what this process has opened."""
        if self._opened is not None and self._process == os.getpid():
            self._opened = None
            self._stack.close()


def run_worker(
    app: Celery,
    open_resources: Open[Resources],
    open_intake: Open[Intake],
    *,
    look: Callable[[], object],
    concurrency: int,
    pool: str = "prefork",
    pin: bool = False,
) -> None:
    """Run tasks in `concurrency` processes until SIGTERM or SIGINT; returns when those under way are done.

    A task is a batch of seconds. SIGQUIT waits for at most 10 of them and gives back the rest. With `pin` each process
    keeps to cores of its own. What producers send is taken in with what `open_intake` opens, which needs no encoder.
    While `look` raises an AkinError, work waits, and the log says so.
    """
    resources, intake = Lazy(open_resources), Lazy(open_intake)
    register(app, resources, intake)
    signals.setup_logging.connect(_configure_logging, weak=False)
    if pin:
        signals.worker_process_init.connect(lambda **_: pin_process(concurrency), weak=False)
    for ending in (signals.worker_process_shutdown, signals.worker_shutdown):
        for lazy in (resources, intake):
            ending.connect(lambda lazy=lazy, **_: lazy.close(), weak=False)
    signals.worker_ready.connect(lambda **_: _say_whether_ready(look), weak=False)
    # A worker that is told to stop forgets a task it has only just given out, and its process would wait half a minute
    # for it to read the result. What the process did stays done, and the message is given out again.
    billiard_pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = UNREAD_TRIES
    app.set_current()
    app.set_default()
    name = f"akin-{os.getpid()}@{socket.gethostname()}"
    arguments = ["worker", f"--pool={pool}", f"--concurrency={concurrency}", f"--hostname={name}"]
    app.worker_main([*arguments, "--without-gossip", "--without-mingle"])


def _say_whether_ready(look: Callable[[], object]) -> None:
    """In a thread of the worker's first process; the pool's own are there by now, and are not forked with it."""
    threading.Thread(target=wait_until_ready, args=(look, threading.Event()), name="waiting", daemon=True).start()


def pin_process(concurrency: int) -> None:
    """Keep this process of the pool to its own cores; one that replaces another gets that one's."""
    keep_to_own_cores(current_process().index, concurrency)


def run_beat(app: Celery, upkeep: Upkeep) -> None:
    """Send what the schedule says, and do the upkeep, until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    app.finalize()
    service = Service(app, scheduler_cls=Scheduler)
    # Celery's loop ends by itself when it is told to; a broker that is away holds it up, and must not hold us up.
    thread = threading.Thread(target=_keep_schedule, args=(service, stop), name="schedule", daemon=True)
    thread.start()
    upkeep.run(stop)
    service.stop()


def _keep_schedule(service: Service, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            service.start(embedded_process=True)
        except Exception:  # the schedule must outlive whatever the broker does
            logger.exception("the schedule stopped; it starts again")
            stop.wait(5.0)
        else:
            return


def _configure_logging(**_: object) -> None:
    configure_logging()
