"""What request bodies and query strings look like. Unknown members are refused, types are not guessed."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.index.checks import MAX_EXCLUDED
from ingest.query_settings import MOST_EXPLORED
from ingest.settings import Settings

MOST_RETRIED = 10_000
FieldName = Literal["title", "text", "categories", "attributes"]
FilterTree = Annotated[
    dict[str, Any] | None, Field(description='A filter tree, e.g. {"and": [{"eq": {"categories": "poetry"}}]}.')
]
ExcludedIds = Annotated[list[str], Field(max_length=MAX_EXCLUDED, description="Items that must not be in the answer.")]
FiniteScore = Annotated[float | None, Field(allow_inf_nan=False, description="Least score of an item in the answer.")]


MaxPer = Annotated[
    dict[str, int], Field(description='Most items of a page that share a value, e.g. {"categories": 3}.')
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ItemBody(_Body):
    """An item as it is sent; the record's own parser checks and cleans it."""

    item_id: str | None = Field(default=None, description="Up to 256 characters; in a path, the path's id counts.")
    title: str = ""
    text: str = ""
    categories: list[str] = []
    attributes: dict[str, Any] = Field(default={}, description="Declared attributes and their values.")
    version: int | None = Field(default=None, description="Your own version number: only a higher one replaces.")


class ItemBatch(_Body):
    """Many items; each is checked by itself."""

    items: list[Any] = Field(json_schema_extra={"items": {"$ref": "#/components/schemas/ItemBody"}})


class InlineEvent(_Body):
    """One past event of a history that is sent along."""

    item_id: str
    type: str = Field(default="like", description="A known event type.")
    value: float | None = None
    timestamp: str | float | None = Field(default=None, description="RFC 3339 or Unix seconds.")


class EventBody(InlineEvent):
    """An event as it is sent; an `event_id` makes a retry safe."""

    event_id: str | None = None
    user_id: str
    dwell_ms: int | None = None
    recommendation_id: str | None = None


class RecommendBody(_Body):
    """What may be asked of recommendations for a user."""

    limit: int = 10
    strategy: str = Field(default="auto", description="auto, blend, taste, interests, mean or popular.")
    filter: FilterTree = None
    exclude_ids: ExcludedIds = []
    exclude_seen: bool = True
    min_score: FiniteScore = None
    explain: bool = False
    reasons: int | None = Field(
        default=None,
        ge=1,
        description="Explains, whatever explain says, by the largest so many shares; the others as a sum.",
    )
    fields: list[FieldName] = []
    scenario: str | None = Field(default=None, description="A named set of these, from the settings; yours win.")
    diversity: float = Field(default=0.0, ge=0, le=1, description="0: relevance alone, 1: difference alone.")
    max_per: MaxPer = {}
    explore: float = Field(
        default=0.0, ge=0, le=MOST_EXPLORED, description="Share of the page for items that were shown least."
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="Equal seeds explore alike; without one each answer differs."
    )
    relax: list[str] = Field(
        default=[],
        max_length=10,
        description="Where too few items pass: attributes whose filters may go, max_per, min_score, in this order.",
    )


class InlineRecommendBody(RecommendBody):
    """Recommendations for a history that is sent along and not stored."""

    history: list[Any] = Field(
        description="By time where entries have one, else the last is the newest (unlike GET history, newest first).",
        json_schema_extra={"items": {"$ref": "#/components/schemas/InlineEvent"}},
    )


class SimilarBody(_Body):
    """What may be asked of similar items."""

    user_id: str | None = None
    user_impact: float = Field(default=0.3, ge=0, le=1, description="0 ignores the user, 1 ignores the item.")
    limit: int = 10
    filter: FilterTree = None
    exclude_ids: ExcludedIds = []
    min_score: FiniteScore = None
    fields: list[FieldName] = []


class SearchBody(_Body):
    """What may be asked of a search."""

    query: str
    mode: Literal["semantic", "lexical", "hybrid"] | None = Field(
        default=None, description="By meaning, by words, or by both; hybrid unless the index was built without words."
    )
    user_id: str | None = None
    personalization: float = Field(
        default=0.2,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 ignores the user, 1 the query; a lexical search still finds only items that match a word.",
    )
    facets: list[str] = Field(
        default=[],
        max_length=20,
        description="Declared attributes to count: keyword and boolean by value, integer and float by range.",
    )
    facet_limit: int = Field(default=10, ge=1, le=100, description="Most values of each facet.")
    limit: int = 10
    filter: FilterTree = None
    exclude_ids: ExcludedIds = []
    min_score: FiniteScore = None
    fields: list[FieldName] = []


def page_limit(body: RecommendBody | SimilarBody | SearchBody, settings: Settings) -> int:
    """How many items are asked for; where nothing is said, the usual number, or the most there may be, if less."""
    return body.limit if "limit" in body.model_fields_set else min(body.limit, settings.max_limit)


class RetryBody(_Body):
    """Which items to try again; all of them without a list."""

    item_ids: list[str] | None = Field(default=None, max_length=MOST_RETRIED)
