"""The Celery app: one configuration for every program that sends or runs tasks."""

import logging
from collections.abc import Sequence

from celery import Celery
from kombu.exceptions import KombuError

from ingest.errors import UnavailableError
from ingest.settings import Settings

logger = logging.getLogger(__name__)

EMBEDDED_BROKER = "memory://localhost/"  # kombu warns about an address without a host


def make_app(settings: Settings) -> Celery:
    """A configured app without tasks; `workers.tasks.register` adds them."""
    broker = EMBEDDED_BROKER if settings.broker_url is None else settings.broker_url.get_secret_value()
    app = Celery("akin", broker=broker, set_as_current=False)
    app.conf.update(
        # What is in a message may come from outside: JSON only, pickle is refused.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        # State lives in the ledger, so results would only be a second and worse copy of it.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue="akin",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_time_limit=300,
        task_soft_time_limit=240,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=500,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=25,
        worker_enable_soft_shutdown_on_idle=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=1,
        # A producer asks twice and gives up: the sweep repeats what it could not send, and nobody should wait for it.
        broker_transport_options={"max_retries": 1, "interval_start": 0, "interval_step": 0.1},
        timezone="UTC",
        enable_utc=True,
    )
    if broker == EMBEDDED_BROKER:
        # The default polls once a second, which would cost every small write that second.
        app.conf.broker_transport_options = {"polling_interval": 0.05}
    return app


class CeleryQueue:
    """The queue protocol over a Celery app."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def wake(self, item_ids: Sequence[str]) -> bool:
        """Send one reconcile task; False when the broker would not take it."""
        try:
            self._app.send_task("akin.reconcile", args=[list(item_ids)], retry=False)
        except (KombuError, OSError) as error:
            logger.warning("broker away; the sweep will find what is pending", extra={"reason": type(error).__name__})
            return False
        return True

    def ping(self) -> None:
        """Raises UnavailableError when no connection to the broker can be made."""
        try:
            with self._app.connection_for_write(connect_timeout=1.0) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=1.0)
        except (KombuError, OSError) as error:
            raise UnavailableError(f"the broker does not answer: {type(error).__name__}") from error
