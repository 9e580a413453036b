"""What request bodies and query strings look like. Unknown members are refused, types are not guessed."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from ingest.errors import InvalidInputError

MOST_EXCLUDED = 10_000
FieldName = Literal["title", "text", "categories", "attributes"]
FilterTree = Annotated[
    dict[str, Any] | None, Field(description='A filter tree, e.g. {"and": [{"eq": {"categories": "poetry"}}]}.')
]
ExcludedIds = Annotated[list[str], Field(max_length=MOST_EXCLUDED, description="Items that must not be in the answer.")]
FiniteScore = Annotated[float | None, Field(allow_inf_nan=False, description="Least score of an item in the answer.")]

FilterParameter = Annotated[str | None, Query(description="A filter tree as a JSON string.", max_length=20_000)]
IdsParameter = Annotated[list[str] | None, Query(description="Items that must not be in the answer; may be repeated.")]
FieldsParameter = Annotated[
    str | None, Query(description="Any of title, text, categories, attributes, separated by commas.", max_length=100)
]
ScoreParameter = Annotated[float | None, Query(allow_inf_nan=False, description="Least score of an item.")]
ShareParameter = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


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
    strategy: str = Field(default="auto", description="auto, mean or popular.")
    filter: FilterTree = None
    exclude_ids: ExcludedIds = []
    exclude_seen: bool = True
    min_score: FiniteScore = None
    explain: bool = False
    fields: list[FieldName] = []


class InlineRecommendBody(RecommendBody):
    """Recommendations for a history that is sent along and not stored."""

    history: list[Any] = Field(json_schema_extra={"items": {"$ref": "#/components/schemas/InlineEvent"}})


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
    mode: str = Field(default="semantic", description="semantic.")
    user_id: str | None = None
    personalization: float = Field(default=0.2, ge=0, le=1, description="0 ignores the user, 1 ignores the query.")
    limit: int = 10
    filter: FilterTree = None
    exclude_ids: ExcludedIds = []
    min_score: FiniteScore = None
    fields: list[FieldName] = []


class RetryBody(_Body):
    """Which items to try again; all of them without a list."""

    item_ids: list[str] | None = Field(default=None, max_length=MOST_EXCLUDED)


def filter_of(parameter: str | None) -> Any:
    """The tree in a query string. Raises InvalidInputError when it is not JSON."""
    if parameter is None:
        return None
    try:
        return orjson.loads(parameter)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError("filter_malformed", "filter must be a JSON object", "filter") from error


def fields_of(parameter: str | None) -> tuple[str, ...]:
    """The names in a comma-separated query string."""
    return tuple(name.strip() for name in parameter.split(",") if name.strip()) if parameter else ()
