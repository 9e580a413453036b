"""The Celery app: one configuration for every program that sends or runs tasks."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import KombuError

from ingest.errors import UnavailableError
from ingest.settings import Settings

logger = logging.getLogger(__name__)

EMBEDDED_BROKER = "memory://localhost/"  # kombu warns about an address without a host
QUEUE = "akin"
DEAD_LETTERS = "akin.dead"
DELIVERIES = 20  # RabbitMQ: a message that was given out so often and never acknowledged kills who reads it
SEND_SECONDS = 1.0  # nobody who writes waits longer for the broker
AWAY_SECONDS = 1.0  # after a failure the broker is not asked again for so long
_AWAY = (KombuError, AMQPError, MessageNacked, OSError)
VISIBILITY_SECONDS = 900  # three times the longest task: Redis gives out again what is not acknowledged by then


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
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_time_limit=300,
        task_soft_time_limit=240,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=500,
        worker_max_memory_per_child=1_200_000,  # KiB
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=10,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=SEND_SECONDS,
        # A producer asks twice and gives up: the sweep repeats what it could not send, and nobody should wait for it.
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        timezone="UTC",
        enable_utc=True,
    )
    app.conf.update(_of_broker(broker))
    return app


def _of_broker(broker: str) -> dict[str, Any]:
    scheme = broker.partition("://")[0]
    if scheme == "memory":
        # The default polls once a second, which would cost every small write that second.
        return {"broker_transport_options": {"polling_interval": 0.05}}
    patience = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}
    if scheme.startswith("redis"):
        return {
            "visibility_timeout": VISIBILITY_SECONDS,
            "broker_transport_options": {
                **patience,
                "visibility_timeout": VISIBILITY_SECONDS,
                "socket_connect_timeout": SEND_SECONDS,
                "socket_timeout": 5.0,  # a half-open connection is noticed; longer than a worker's wait for a message
                "socket_keepalive": True,
                "health_check_interval": 25,
                # By default what a lost worker had is looked for every 100 seconds.
                "unacked_restore_interval": 10,
                "unacked_restore_throttle": 1,
            },
        }
    return {
        "task_queues": [_quorum_queue()],
        "task_default_queue_type": "quorum",
        "task_default_exchange": QUEUE,
        "task_default_exchange_type": "topic",  # with a direct one, a task that is retried later would block its worker
        "task_default_routing_key": QUEUE,
        "broker_native_delayed_delivery_queue_type": "classic",
        "broker_heartbeat": 30,
        "broker_transport_options": {**patience, "confirm_publish": True},
    }


class _AkinQueue(Queue):  # type: ignore[misc] # kombu ships no type hints
    """Declares where its dead letters go together with itself: a message without a place to go would vanish."""

    def declare(self, nowait: bool = False, channel: Any = None) -> Any:
        letters = Queue(DEAD_LETTERS, Exchange(DEAD_LETTERS, "fanout"), queue_arguments={"x-queue-type": "quorum"})
        letters(channel or self.channel).declare()
        return super().declare(nowait=nowait, channel=channel)


def _quorum_queue() -> Queue:
    return _AkinQueue(
        QUEUE,
        Exchange(QUEUE, "topic"),
        routing_key=QUEUE,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERIES,
            "x-dead-letter-exchange": DEAD_LETTERS,
        },
    )


class CeleryQueue:
    """The queue protocol over a Celery app."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._away_until = 0.0

    def wake(self, item_ids: Sequence[str]) -> bool:
        """Send one reconcile task; False when the broker would not take it, or just would not take another."""
        if time.monotonic() < self._away_until:
            return False
        try:
            self._app.send_task("akin.reconcile", args=[list(item_ids)], timeout=SEND_SECONDS)
        except _AWAY as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("broker away; the sweep will find what is pending", extra={"reason": type(error).__name__})
            return False
        return True

    def ping(self) -> None:
        """Raises UnavailableError when no connection to the broker can be made."""
        try:
            with self._app.connection_for_write(connect_timeout=SEND_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=SEND_SECONDS)
        except _AWAY as error:
            raise UnavailableError(f"the broker does not answer: {type(error).__name__}") from error

    def depth(self) -> int | None:
        """Messages that wait, asked of the broker; None when it does not answer, or just did not."""
        if time.monotonic() < self._away_until:
            return None
        transport = self._app.connection_for_write().transport
        try:
            with self._app.connection_for_write(connect_timeout=SEND_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=SEND_SECONDS)
                with connection.channel() as channel:
                    found = channel.queue_declare(queue=self._app.conf.task_default_queue, passive=True)
                    return int(found.message_count)
        except transport.channel_errors:
            return 0  # there is no such queue: Redis keeps none that is empty, elsewhere nobody has used it yet
        except (*_AWAY, *transport.connection_errors):
            self._away_until = time.monotonic() + AWAY_SECONDS
            return None
