"""What may be asked of recommendations, and what of it is refused. One value, so that later pages are asked alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.index.checks import check_min_score
from ingest.items import AttributeType, check_id
from ingest.query_settings import MOST_EXPLORED
from ingest.settings import Settings
from serving.answers import check_fields, check_limit, check_share
from serving.popular import POPULAR

MEAN = "mean"
TASTE = "taste"
BLEND = "blend"
INTERESTS = "interests"
STRATEGIES = ("auto", BLEND, TASTE, INTERESTS, MEAN, POPULAR)
RELAXED_CAPS, RELAXED_SCORE = "max_per", "min_score"  # what may be relaxed beside the filters of attributes
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class BoostedItems:
    """Items that are lifted: those named and those that pass the filter, by `by` times the best item's score."""

    by: float
    item_ids: tuple[str, ...] = ()
    filter: Any = None


@dataclass(frozen=True, kw_only=True)
class RecommendRequest:
    """What is asked for. Filters are JSON trees, as only the generation that answers knows its attributes."""

    user_id: str | None = None
    history: tuple[Event, ...] | None = None  # an inline history; used instead of a user's
    limit: int = 10
    strategy: str = "auto"
    filter: Any = None
    required: Any = None  # a filter beside it that is never relaxed
    exclude_ids: tuple[str, ...] = ()
    exclude_seen: bool = True
    min_score: float | None = None
    explain: bool = False
    reasons: int | None = None  # with `explain`: the largest so many of each item, the others as a sum
    fields: tuple[str, ...] = ()
    diversity: float = 0.0
    max_per: Mapping[str, int] = field(default_factory=dict)  # attribute -> most items of a page that share a value
    pinned: tuple[str, ...] = ()  # come first on the first page, where they pass
    boosts: tuple[BoostedItems, ...] = ()
    explore: float = 0.0  # share of the page for items that were shown least
    seed: int | None = None  # equal seeds explore alike; None: another one for each answer
    relax: tuple[str, ...] = ()  # what may be dropped, in this order, while too few items pass
    begun_by: str | None = None  # of a next page: the first one's strategy, as scores of one answer are of one kind


def check_request(request: RecommendRequest, settings: Settings) -> None:
    """Raise InvalidInputError naming the field that does not fit."""
    if request.strategy not in STRATEGIES:
        raise InvalidInputError("unknown_strategy", f"strategy is one of {', '.join(STRATEGIES)}", "strategy")
    check_limit(request.limit, settings)
    check_min_score(request.min_score)
    check_share(request.diversity, "diversity")
    if not 0 <= request.explore <= MOST_EXPLORED:
        raise InvalidInputError("invalid_explore", f"explore is a share from 0 to {MOST_EXPLORED}", "explore")
    if request.reasons is not None and request.reasons < 1:
        raise InvalidInputError("invalid_reasons", "reasons is a number from 1 on", "reasons")
    if request.seed is not None and not 0 <= request.seed <= _LARGEST_SEED:
        raise InvalidInputError("invalid_seed", "a seed is an integer from 0 to 2^63 - 1", "seed")
    _check_caps(request.max_per, settings)
    _check_relax(request.relax, settings)
    check_fields(request.fields)
    if request.user_id is not None:
        check_id(request.user_id, "user_id")


def _check_caps(max_per: Mapping[str, int], settings: Settings) -> None:
    keywords = {"categories", *(name for name, kind in settings.attributes.items() if kind is AttributeType.KEYWORD)}
    for name, most in max_per.items():
        if name not in keywords:
            known = ", ".join(sorted(keywords))
            raise InvalidInputError("unknown_attribute", f"max_per names keyword attributes: {known}", "max_per")
        if most < 1:
            raise InvalidInputError("invalid_max_per", "max_per allows at least one item per value", "max_per")


def _check_relax(relax: tuple[str, ...], settings: Settings) -> None:
    known = {"categories", *settings.attributes, RELAXED_CAPS, RELAXED_SCORE}
    if not known.issuperset(relax):
        raise InvalidInputError("unknown_relaxation", f"relax may name {', '.join(sorted(known))}", "relax")
