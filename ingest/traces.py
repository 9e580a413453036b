"""Spans for whoever traces requests through several systems; nothing at all where traces are off.

They are on where OpenTelemetry's own variable names a collector and akin's extra `traces` is installed. One outside
system, one file: nothing else knows OpenTelemetry.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from ingest.extras import to_install

logger = logging.getLogger(__name__)

_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_NOTHING: AbstractContextManager["Span | None"] = nullcontext()


class Span(Protocol):
    """One piece of work, as a collector shows it."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something of it: ids and counts, never texts."""
        ...

    def update_name(self, name: str) -> None:
        """Name it better, once it is known what it is."""
        ...


class _Tracing:
    """How spans are made in this process; None where traces are off."""

    begin: Callable[[str, Mapping[str, str] | None], AbstractContextManager[Span | None]] | None = None


def span(name: str, carrier: Mapping[str, str] | None = None) -> AbstractContextManager[Span | None]:
    """A span around a block; `carrier` are the headers that may name the span that asked. None where traces are off."""
    return _NOTHING if _Tracing.begin is None else _Tracing.begin(name, carrier)


@contextmanager
def tracing(program: str) -> Iterator[None]:
    """Send spans of this process until the block ends, if a collector is named in the environment."""
    if not any(os.environ.get(name) for name in _ADDRESSES):
        yield
        return
    try:
        begin, close = _opened(program)
    except ImportError:
        logger.warning("traces are asked for and not installed", extra={"remedy": to_install("traces")})
        yield
        return
    _Tracing.begin = begin
    try:
        yield
    finally:
        _Tracing.begin = None
        close()


def _opened(
    program: str,
) -> tuple[Callable[[str, Mapping[str, str] | None], AbstractContextManager[Any]], Callable[[], None]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.propagate import extract  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = os.environ.get("OTEL_SERVICE_NAME", f"akin-{program}")
    provider = TracerProvider(resource=Resource.create({"service.name": named}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("akin")

    def begin(name: str, carrier: Mapping[str, str] | None) -> AbstractContextManager[Any]:
        return tracer.start_as_current_span(name, context=extract(carrier) if carrier is not None else None)

    return begin, provider.shutdown
