"""What the ledger hands out: frozen records, no rows and no vendor types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from ingest.encoder.protocol import Vectors
from ingest.events import Event
from ingest.items import AttributeType


class GenerationState(StrEnum):
    """Where a generation stands. Exactly one is live; it and those that catch up receive every write."""

    BUILDING = "building"  # being filled by itself; live writes do not reach it yet
    CATCHING_UP = "catching_up"  # receives live writes; becomes live when nothing is missing and the gate passes
    LIVE = "live"
    RETIRED = "retired"  # was live; kept for rollback
    REFUSED = "refused"  # the gate said no; kept for inspection
    FAILED = "failed"  # could not be built


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One complete index built with one encoder."""

    name: str
    state: GenerationState
    fingerprint: str
    dimensions: int
    attributes: Mapping[str, AttributeType]
    mean: Vectors | None  # (dimensions,) float32, the catalogue mean its text vectors are centred on; None: not centred
    items: int  # items when it was built
    created_at: datetime
    live_at: datetime | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One past event, and the version of its item that stands in the generation asked about (None: not placed)."""

    event: Event
    version: int | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """How far one submission has come. An item that a later submission replaced counts as placed."""

    job_id: str
    kind: str
    created_at: datetime
    total: int
    placed: int
    failed: int
    errors: tuple["SetAside", ...] = ()

    @property
    def state(self) -> str:
        """queued, running, done or done_with_errors."""
        if self.placed + self.failed >= self.total:
            return "done_with_errors" if self.failed else "done"
        return "running" if self.placed + self.failed else "queued"


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A version of an item that could not be placed, and why."""

    item_id: str
    version: int
    reason: str
    attempts: int
    set_aside_at: datetime


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A row or message part that was refused. Holds no text of the item and no user id."""

    source: str
    position: int
    subject_id: str | None
    code: str
    detail: str
    rejected_at: datetime


@dataclass(frozen=True, kw_only=True)
class ErasureReceipt:
    """What deleting a user removed."""

    receipt_id: str
    erased_at: datetime
    events: int
    recommendations: int


@dataclass(frozen=True, kw_only=True)
class LoggedRecommendation:
    """One answer that was given, so that events which carry its id back can be joined to it."""

    recommendation_id: str
    user_id: str | None
    generation: str
    strategy: str
    item_ids: tuple[str, ...]
    created_at: datetime
    page: bytes | None = None  # what its next page is made from, kept for a while
