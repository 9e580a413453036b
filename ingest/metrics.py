"""What this process counts and times, by the names that dashboards and alerts use; `docs/reference.py` lists them.

One outside system, one file: only here and in `ledger_metrics` and `metrics_server` is prometheus_client known. Its
metrics are values of a process by their nature, so they are defined once, here, and imported where they are counted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ingest.counting import SHARED_FOLDER
from ingest.traces import span

__all__ = ["CONTENT_TYPE_LATEST", "CollectorRegistry"]

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WORK = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

HTTP_SECONDS = Histogram(
    "akin_http_request_seconds",
    "Seconds from a request's first byte to its answer's last, by route template and status.",
    ("method", "route", "status"),
    buckets=_REQUEST,
)
ANN_SECONDS = Histogram(
    "akin_index_query_seconds",
    "Seconds of one question to the vector index: by text, taste or words; exact where a scan was asked for.",
    ("kind",),
    buckets=_QUICK,
)
PROFILES = Counter(
    "akin_profile_reads", "Profiles asked for: kept from before (hit), built (miss), or never kept here.", ("outcome",)
)
ANSWERS = Counter("akin_answers", "Answers of items, by the strategy or mode that was used in the end.", ("strategy",))
ANSWERED_ITEMS = Counter(
    "akin_answered_items",
    "Items of answers by what found them; popular and catalogue are the fallbacks of who has no profile.",
    ("source",),
)
RECONCILE_SECONDS = Histogram("akin_reconcile_seconds", "Seconds of one call of reconcile.", buckets=_WORK)
RECONCILED = Counter("akin_reconciled_items", "Items reconciled: placed, to be done again, or set aside.", ("outcome",))
for _outcome in ("placed", "again", "set_aside"):
    RECONCILED.labels(_outcome)  # there from the start: what appears only with its first count has no rate before
EMBED_SECONDS = Histogram("akin_embed_seconds", "Seconds of one call of the encoder.", buckets=_QUICK + _WORK[6:])
EMBEDDED_TEXTS = Counter("akin_embedded_texts", "Texts embedded; their rate is texts/s.")
EMBEDDED_TOKENS = Counter("akin_embedded_tokens", "Tokens embedded, special ones included; their rate is tokens/s.")

_COUNTED = (
    HTTP_SECONDS,
    ANN_SECONDS,
    PROFILES,
    ANSWERS,
    ANSWERED_ITEMS,
    RECONCILE_SECONDS,
    RECONCILED,
    EMBED_SECONDS,
    EMBEDDED_TEXTS,
    EMBEDDED_TOKENS,
)


@dataclass(frozen=True, kw_only=True)
class Described:
    """A metric as the reference lists it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    means: str


def described() -> list[Described]:
    """Everything that is counted in a process."""
    found = []
    for counted in _COUNTED:
        (family,) = counted.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = tuple(counted._labelnames)  # noqa: SLF001 - the library shows them nowhere else
        found.append(Described(name=name, kind=family.type, labels=labels, means=family.documentation))
    return found


@contextmanager
def measured(name: str, seconds: Histogram) -> Iterator[None]:
    """Time a block into `seconds`, and show it as a span where traces are on."""
    with span(name), seconds.time():
        yield


def registry(*more: Collector) -> CollectorRegistry:
    """Everything that is counted here, or in all processes that count together, and what `more` collectors say."""
    made = CollectorRegistry()
    if SHARED_FOLDER in os.environ:
        MultiProcessCollector(made)  # type: ignore[no-untyped-call] # the library's own gap
    else:
        made.register(REGISTRY)
    for collector in more:
        made.register(collector)
    return made


def exposition(found: CollectorRegistry) -> bytes:
    """All of it in Prometheus' text format, whose media type is CONTENT_TYPE_LATEST."""
    return generate_latest(found)
