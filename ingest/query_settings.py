"""Settings of queries that are tables of their own: scenarios, and how large a filter may be."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MOST_EXPLORED = 0.5  # share of a page: the rest is for what the items are wanted for


class Boost(BaseModel):
    """Items that a scenario lifts: those named, those that pass a filter, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    item_ids: list[str] = Field(default_factory=list, max_length=1_000, description="Items that are lifted.")
    filter: dict[str, Any] | None = Field(None, description='Which items are lifted, e.g. {"eq": {"tags": "new"}}.')
    by: float = Field(gt=0, le=10, description="What is added to their scores, in scores of the best item.")


class Scenario(BaseModel):
    """A named set of query settings, like "home" or "basket"; what a request says itself wins."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    limit: int = Field(10, ge=1, description="How many items.")
    strategy: str = Field("auto", description="How items are found.")
    filter: dict[str, Any] | None = Field(None, description="A filter tree that counts beside the request's own.")
    exclude_seen: bool = Field(default=True, description="Whether items of the history are left out.")
    diversity: float = Field(0.0, ge=0, le=1, description="0 for relevance alone, 1 for difference alone.")
    max_per: dict[str, int] = Field(default_factory=dict, description="Most items of a page that share a value.")
    min_score: float | None = Field(None, description="Least score of an item.")
    pinned: list[str] = Field(default_factory=list, max_length=20, description="Items that come first where they may.")
    boosts: list[Boost] = Field(default_factory=list, max_length=10, description="Items that are lifted.")
    explore: float = Field(
        0.0, ge=0, le=MOST_EXPLORED, description="Share of the page for items that were shown least."
    )
    relax: list[str] = Field(
        default_factory=list,
        max_length=10,
        description="Where too few items pass: attributes whose filters may go, max_per and min_score, in this order.",
    )


class FilterLimits(BaseModel):
    """How large a filter tree from outside may be; deeper and larger ones could bring the engine down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(default=4, ge=1, le=6, description="Nested and/or/not.")
    conditions: int = Field(default=64, ge=1, le=256, description="Conditions of one filter.")
    values: int = Field(default=256, ge=1, le=1024, description="Values of one `in`.")
