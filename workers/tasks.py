"""The tasks: each reads its message, calls one use case, and is done. What they call can be repeated at will.

A task ends in one of three ways: it did what its message asks, has it come again, or listed it among the rejects. An
error that left a task otherwise would have Celery acknowledge the message, or end a worker of one thread.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject
from celery.utils.time import get_exponential_backoff_interval

from ingest.errors import AkinError, InvalidInputError, UnavailableError
from ingest.intake import read_message, refuse, take_events, take_items
from ingest.store.leases import TRAINING
from workers.app import AWAY_SECONDS, CeleryQueue
from workers.log_filter import keep_messages_out_of_logs
from workers.resources import Intake, Resources

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 600  # until a message is tried again; less than Redis waits for a lost worker


def register(app: Celery, resources: Callable[[], Resources], intake: Callable[[], Intake]) -> None:
    """Add akin's tasks to an app. `resources` and `intake` are asked when a task runs, in the process that runs it."""
    keep_messages_out_of_logs()
    queue = CeleryQueue(app)
    task: Callable[..., Callable[[Callable[..., None]], object]] = app.task  # Celery ships no type hints
    # A message that hangs a process until it is killed is given out again, as any other that was not worked on.
    tried_again = {"shared": False, "bind": True, "max_retries": None, "acks_on_timeout": False}

    @task(name="akin.reconcile", shared=False)
    def reconcile(item_ids: Sequence[str]) -> None:
        """Make the index agree with the ledger for these items."""
        try:
            resources().reconciler.reconcile(item_ids)
        except (UnavailableError, MemoryError) as error:
            # The items stay pending and the sweep asks again, so a retry here would only do the same twice.
            logger.warning("reconcile put off", extra={"items": len(item_ids), "reason": _reason(error)})

    @task(name="akin.reindex", **tried_again)
    def reindex(self: Task) -> None:
        """Begin the generation of today, once; the upkeep of this installation takes it from there."""
        with _again_after(self, UnavailableError, MemoryError):
            resources().reindexer.request_nightly()

    @task(name="akin.train_taste", **tried_again)
    def train_taste(self: Task) -> None:
        """Learn from the events which items go together; the upkeep of this installation takes it from there."""
        with _again_after(self, UnavailableError, MemoryError):
            intake().ledger.leases.ask_for(TRAINING)

    @task(name="akin.submit_items", **tried_again)
    def submit_items(self: Task, /, *arguments: Any, **named: Any) -> None:
        """Take in `items`, of the shape `format`, from a producer that prefers the broker to HTTP."""
        with _again_after(self, Exception):
            have = intake()
            with _listed_when_refused(have, self.name):
                items, message_format = read_message("items", arguments, named)
                take_items(have.ledger, queue, have.settings, items, source=self.name, message_format=message_format)

    @task(name="akin.submit_events", **tried_again)
    def submit_events(self: Task, /, *arguments: Any, **named: Any) -> None:
        """Take in `events`, of the shape `format`, from a producer that prefers the broker to HTTP."""
        with _again_after(self, Exception):
            have = intake()
            with _listed_when_refused(have, self.name):
                events, message_format = read_message("events", arguments, named)
                take_events(
                    have.ledger,
                    have.settings,
                    events,
                    source=self.name,
                    message_format=message_format,
                    message_id=self.request.id,
                )


@contextmanager
def _listed_when_refused(have: Intake, source: str) -> Iterator[None]:
    """List the message among the rejects when nothing can make it valid."""
    try:
        yield
    except InvalidInputError as error:
        refuse(have.ledger, error, source=source)


@contextmanager
def _again_after(task: Task, *curable: type[Exception]) -> Iterator[None]:
    """Have the message given out again, later and later, when one of these errors ends the block."""
    try:
        yield
    except curable as error:
        tries = task.request.retries
        logger.warning(
            "task put off",
            extra={"task": task.name, "task_id": task.request.id, "tries": tries + 1, "reason": _reason(error)},
            exc_info=not isinstance(error, (AkinError, MemoryError)),
        )
        wait = get_exponential_backoff_interval(factor=1, retries=tries, maximum=LONGEST_WAIT_SECONDS, full_jitter=True)
        try:
            task.retry(exc=error, countdown=wait)
        except Reject as undelivered:
            # Celery would have the broker drop what it does not take again. It still has the message: let it keep it.
            time.sleep(AWAY_SECONDS)
            raise Reject(undelivered.reason, requeue=True) from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AkinError) else type(error).__name__
