"""Metrics of programs that have no API: a worker's, on a port of its own, over all of its processes."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server
from prometheus_client.registry import Collector

from ingest.errors import SettingsError
from ingest.metrics import registry
from ingest.settings import Settings


@contextmanager
def metrics_server(settings: Settings, *more: Collector) -> Iterator[int | None]:
    """Answer `GET /metrics` on AKIN_METRICS_PORT until the block ends; gives the port, None where none is set."""
    if settings.metrics_port is None:
        yield None
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry(*more))
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise SettingsError(
            f"metrics cannot be served on {where} ({error.strerror}); set AKIN_METRICS_PORT to a free port"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
