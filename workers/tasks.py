"""The tasks: each reads its message, calls one use case, and is done. What they call can be repeated at will."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Celery

from ingest.errors import UnavailableError
from ingest.intake import take_events, take_items
from ingest.store.leases import TRAINING
from workers.app import CeleryQueue
from workers.resources import Resources

logger = logging.getLogger(__name__)


def register(app: Celery, resources: Callable[[], Resources]) -> None:
    """Add akin's tasks to an app. `resources` is asked when a task runs, in the process that runs it."""
    queue = CeleryQueue(app)
    task: Callable[..., Callable[[Callable[..., None]], object]] = app.task  # Celery ships no type hints

    @task(name="akin.reconcile", shared=False)
    def reconcile(item_ids: Sequence[str]) -> None:
        """Make the index agree with the ledger for these items."""
        try:
            resources().reconciler.reconcile(item_ids)
        except UnavailableError as error:
            # The items stay pending and the sweep asks again, so a retry here would only do the same twice.
            logger.warning("reconcile put off", extra={"items": len(item_ids), "reason": str(error)})

    @task(name="akin.reindex", shared=False)
    def reindex() -> None:
        """Begin the generation of today, once; the upkeep of this installation takes it from there."""
        resources().reindexer.request_nightly()

    @task(name="akin.train_taste", shared=False)
    def train_taste() -> None:
        """Learn from the events which items go together; the upkeep of this installation takes it from there."""
        resources().ledger.leases.ask_for(TRAINING)

    retried = {"shared": False, "autoretry_for": (UnavailableError,), "retry_backoff": True, "max_retries": None}

    @task(name="akin.submit_items", **retried)
    def submit_items(items: Sequence[Mapping[str, Any]], format: int = 1) -> None:  # noqa: A002 - the message's word
        """Take in items from a producer that prefers the broker to HTTP."""
        have = resources()
        take_items(have.ledger, queue, have.settings, items, source="akin.submit_items", message_format=format)

    @task(name="akin.submit_events", **retried)
    def submit_events(events: Sequence[Mapping[str, Any]], format: int = 1) -> None:  # noqa: A002 - as above
        """Take in events from a producer that prefers the broker to HTTP."""
        have = resources()
        take_events(have.ledger, have.settings, events, source="akin.submit_events", message_format=format)
