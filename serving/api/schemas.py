"""What answers look like, for the API's own description only: answers are written without passing through these."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class ProblemError(BaseModel):
    """One of several reasons."""

    field: str | None = None
    index: int | None = None
    item_id: str | None = None
    code: str | None = None
    detail: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable: safe to match on.")
    request_id: str
    field: str | None = None
    errors: list[ProblemError] | None = None


class BecauseAnswer(BaseModel):
    """One past event's share of the score; all of them add up to it."""

    item_id: str
    event_type: str
    share: float
    title: str | None = None


class RecommendedItemAnswer(BaseModel):
    """One item of an answer."""

    item_id: str
    score: float
    source: str
    fields: dict[str, Any] | None = None
    because: list[BecauseAnswer] | None = None


class ProfileAnswer(BaseModel):
    """How much of the history was used."""

    events: int
    used: int
    unknown: int


class RecommendationsAnswer(BaseModel):
    """Items best first; higher scores are better, always."""

    recommendation_id: str
    items: list[RecommendedItemAnswer]
    generation: str
    strategy: str
    profile: ProfileAnswer
    next: str | None = Field(description="Where to POST for the next page; null when there is none.")


class RefusedPart(BaseModel):
    """One part of a batch that was refused; `index` counts from 0."""

    index: int
    item_id: str | None
    code: str
    detail: str


class AcceptedItems(BaseModel):
    """Items that are in the ledger and on their way into the index."""

    job_id: str
    accepted: int
    errors: list[RefusedPart]


class AcceptedEvents(BaseModel):
    """Events that are in the ledger."""

    accepted: int
    duplicates: int
    errors: list[RefusedPart]


class ItemAnswer(BaseModel):
    """An item as the ledger holds it."""

    item_id: str
    title: str
    text: str
    categories: list[str]
    attributes: dict[str, Any]
    version: int
    updated_at: datetime


class SetAsideAnswer(BaseModel):
    """An item that could not be placed, and why."""

    item_id: str
    version: int
    reason: str
    attempts: int
    set_aside_at: datetime


class SetAsideList(BaseModel):
    """Items set aside, newest first."""

    items: list[SetAsideAnswer]


class RetriedAnswer(BaseModel):
    """How many items are tried again."""

    retried: int


class RejectAnswer(BaseModel):
    """A row or message part that was refused."""

    source: str
    position: int
    subject_id: str | None
    code: str
    detail: str
    rejected_at: datetime


class RejectList(BaseModel):
    """Refused rows and message parts, newest first."""

    rejects: list[RejectAnswer]


class JobAnswer(BaseModel):
    """How far a submission has come."""

    job_id: str
    kind: str
    state: str = Field(description="queued, running, done or done_with_errors.")
    created_at: datetime
    total: int
    placed: int
    failed: int
    errors: list[SetAsideAnswer]


class GenerationAnswer(BaseModel):
    """One complete index built with one encoder."""

    name: str
    state: str
    fingerprint: str
    dimensions: int
    items: int
    created_at: datetime
    live_at: datetime | None
    report: dict[str, Any]


class GenerationList(BaseModel):
    """All generations, newest first."""

    generations: list[GenerationAnswer]


class EventAnswer(BaseModel):
    """An event as the ledger holds it."""

    event_id: str
    user_id: str
    item_id: str
    type: str
    value: float | None
    timestamp: datetime | None
    dwell_ms: int | None
    recommendation_id: str | None


class PastEventAnswer(EventAnswer):
    """An event of a history with its present weight."""

    weight: float
    placed: bool


class HistoryAnswer(BaseModel):
    """The events that count, newest first."""

    user_id: str
    events: list[PastEventAnswer]


class ExportAnswer(BaseModel):
    """Every event of a user."""

    user_id: str
    events: list[EventAnswer]


class InterestAnswer(BaseModel):
    """A category and its share of what the user liked."""

    category: str
    share: float
    events: int


class InterestsAnswer(BaseModel):
    """Interests, strongest first."""

    user_id: str
    interests: list[InterestAnswer]
    uncategorised: float
    events: int
    generation: str


class ReceiptAnswer(BaseModel):
    """What deleting a user removed."""

    receipt_id: str
    erased_at: datetime
    events: int
    recommendations: int


class HealthAnswer(BaseModel):
    """Whether the process, or with all it needs, can answer."""

    status: str
    checks: dict[str, str] | None = None
