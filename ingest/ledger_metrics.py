"""What the ledger says of an installation, as metrics: asked when somebody looks, the same in every process."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from threading import Lock

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ingest.errors import AkinError
from ingest.queue import Queue
from ingest.store.ledger import Ledger
from ingest.store.records import GenerationState

# Every gauge with its sentence and labels: what is exported, and what the reference lists.
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "akin_ledger_up": ("Whether the ledger answers (1) or not (0); then its other figures are missing.", ()),
    "akin_items": ("Items of the catalogue by state: total, placed, pending, set_aside.", ("state",)),
    "akin_oldest_pending_seconds": ("How long the oldest pending item waits; 0 when none does.", ()),
    "akin_events": ("Events in the ledger.", ()),
    "akin_queue_messages": ("Messages that wait in the queue; missing where the broker does not say.", ()),
    "akin_generations": ("Generations by state.", ("state",)),
    "akin_generation_age_seconds": ("Since the live generation went live.", ()),
    "akin_gate_passed": ("Whether the generation judged last passed (1), by check of the gate.", ("check",)),
    "akin_gate_value": ("What the gate measured there, by check.", ("check",)),
}
FRESH_SECONDS = 5.0  # counting is dear in a large ledger, and several may be looking


class LedgerMetrics(Collector):
    """Counts of the ledger and the queue, read at most every few seconds; a ledger away is `akin_ledger_up` 0."""

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        *,
        seconds: float = FRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._read: list[Metric] = []
        self._fresh_until = 0.0

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: what there is to say is known when it is asked."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families, with their values."""
        with self._lock:
            if not self._read or self._clock() >= self._fresh_until:
                self._read = self._families()
                self._fresh_until = self._clock() + self._seconds
            return self._read

    def _families(self) -> list[Metric]:
        try:
            found = [*self._items(), *self._generations()]
        except AkinError:
            return [_gauge("akin_ledger_up", 0), *self._depth()]
        return [_gauge("akin_ledger_up", 1), *found, *self._depth()]

    def _items(self) -> Iterable[Metric]:
        ledger = self._ledger
        live = ledger.generations.live()
        yield _gauges(
            "akin_items",
            {
                "total": ledger.items.count(),
                "placed": ledger.placements.count(live.name) if live else 0,
                "pending": ledger.pending.count(),
                "set_aside": ledger.pending.count_set_aside(),
            },
        )
        yield _gauge("akin_oldest_pending_seconds", ledger.pending.oldest_age_seconds() or 0.0)
        yield _gauge("akin_events", ledger.events.count())

    def _generations(self) -> Iterable[Metric]:
        found = self._ledger.generations.list()
        yield _gauges(
            "akin_generations", {state: sum(one.state is state for one in found) for state in GenerationState}
        )
        live = next((one for one in found if one.state is GenerationState.LIVE), None)
        if live is not None:
            age = datetime.now(UTC) - (live.live_at or live.created_at)
            yield _gauge("akin_generation_age_seconds", age.total_seconds())
        checks = next((one.report["checks"] for one in found if "checks" in one.report), None)
        if checks is not None:  # what the gate said of the generation that it judged last
            yield _gauges("akin_gate_passed", {check["name"]: float(check["passed"]) for check in checks})
            yield _gauges("akin_gate_value", {check["name"]: check["value"] for check in checks})

    def _depth(self) -> Iterable[Metric]:
        depth = self._queue.depth()
        if depth is not None:
            yield _gauge("akin_queue_messages", depth)


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, GAUGES[name][0], value=value)


def _gauges(name: str, values: Mapping[str, float]) -> Metric:
    means, labels = GAUGES[name]
    family = GaugeMetricFamily(name, means, labels=labels)
    for label, value in values.items():
        family.add_metric((label,), value)
    return family
