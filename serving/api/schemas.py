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
    """One past event's share of the score."""

    item_id: str
    event_type: str
    share: float
    title: str | None = None


class OthersAnswer(BaseModel):
    """The past events that are not listed, and what their shares add up to."""

    events: int
    share: float


class RecommendedItemAnswer(BaseModel):
    """One item of an answer."""

    item_id: str
    score: float
    source: str
    fields: dict[str, Any] | None = None
    because: list[BecauseAnswer] | None = None
    others: OthersAnswer | None = Field(default=None, description="Where only so many reasons were asked for.")
    shared: dict[str, list[str]] | None = Field(
        default=None, description="Attribute values that the item and the history share."
    )
    prior: float | None = Field(
        default=None, description="What popularity adds; shares, others, prior and boost are the score."
    )
    boost: float | None = Field(default=None, description="What a scenario adds to the score.")
    relaxed: list[str] | None = Field(default=None, description="What was dropped before this item was found.")


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
    relaxed: list[str] | None = Field(default=None, description="What was dropped to fill the page; absent: nothing.")


class FacetValueAnswer(BaseModel):
    """A value and how many of the counted items have it."""

    value: str | bool
    count: int


class FacetAnswer(BaseModel):
    """One attribute over the counted items: its commonest values, or its range."""

    items: int = Field(description="Counted items that have the attribute.")
    values: list[FacetValueAnswer] | None = None
    distinct: int | None = Field(default=None, description="How many values there are, shown or not.")
    min: float | None = None
    max: float | None = None


class SearchAnswer(RecommendationsAnswer):
    """Items best first; `strategy` is the mode, and `source` says whether words, meaning or both found an item."""

    facets: dict[str, FacetAnswer] | None = Field(default=None, description="Where they were asked for, by attribute.")


class RefusedPart(BaseModel):
    """One part of a batch that was refused; `index` counts from 0."""

    index: int
    item_id: str | None
    code: str
    detail: str


class AcceptedItems(BaseModel):
    """Items that are in the ledger and on their way into the index."""

    job_id: str
    accepted: int = Field(description="Items that are in the ledger as they were sent, those that were already too.")
    errors: list[RefusedPart]


class AcceptedEvents(BaseModel):
    """Events that are in the ledger."""

    accepted: int = Field(description="Events that were taken, duplicates too: those that are not in `errors`.")
    duplicates: int = Field(
        description="Of the accepted, those whose `event_id` was there already: such an event is taken for the one "
        "that has the id, whatever else it says, and nothing is written."
    )
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
    items: int = Field(description="What it held when it was built.")
    placed: int | None = Field(
        default=None, description="What it holds now; in the list of generations, and of one that was activated."
    )
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
    title: str | None = Field(default=None, description="Of its item, where titles were asked for.")


class HistoryAnswer(BaseModel):
    """The events that count, newest first."""

    user_id: str
    events: list[PastEventAnswer]


class GivenAnswer(BaseModel):
    """An answer that was given to a user."""

    recommendation_id: str
    created_at: datetime
    strategy: str
    generation: str
    item_ids: list[str]


class ExportAnswer(BaseModel):
    """Everything that is kept of a user, newest first."""

    user_id: str
    events: list[EventAnswer]
    recommendations: list[GivenAnswer] = Field(description="What was answered, as far as the log still holds it.")


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


class BuildAnswer(BaseModel):
    """How far the build under way has come."""

    generation: str
    stage: str
    done: int
    total: int


class OverviewAnswer(BaseModel):
    """An installation at a glance."""

    items: int
    placed: int
    pending: int
    oldest_pending_seconds: float | None
    set_aside: int
    events: int
    queue_messages: int | None = Field(description="Messages that wait in the queue; null where that is not known.")
    building: BuildAnswer | None
    generation: str | None
    trouble: str | None = Field(description="Why queries cannot be answered now; null when they can.")
    encoder: dict[str, Any] | None
    attributes: dict[str, str]
    event_types: list[str]
    scopes: list[str] = Field(description="What whoever asks may do: query, ingest, admin (which is all of it).")


class UserEvents(BaseModel):
    """A user and how many events they have."""

    user_id: str
    events: int


class UserList(BaseModel):
    """Users in the order of their ids."""

    users: list[UserEvents]


class PlaceAnswer(BaseModel):
    """Where one item lies, within -1..1."""

    item_id: str
    x: float
    y: float
    category: str | None
    title: str


class LandscapeAnswer(BaseModel):
    """The catalogue as a map of its text vectors."""

    generation: str
    items: int
    places: list[PlaceAnswer]


class EvaluationAnswer(BaseModel):
    """The last report of `akin evaluate`."""

    strategies: dict[str, dict[str, Any]]
