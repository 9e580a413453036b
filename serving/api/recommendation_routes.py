"""Recommendations and similar items over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ingest.events import Event
from serving.api.answers import WithServices, read, recommendations_answer
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.paths import ItemId, UserId
from serving.api.requests import (
    FieldsParameter,
    FilterParameter,
    IdsParameter,
    InlineRecommendBody,
    RecommendBody,
    ScoreParameter,
    ShareParameter,
    SimilarBody,
    fields_of,
    filter_of,
)
from serving.api.schemas import RecommendationsAnswer
from serving.inline_history import parse_inline_history
from serving.recommend import RecommendRequest
from serving.services import Services
from serving.similar import SimilarRequest

router = APIRouter(tags=["recommendations"], route_class=JsonRoute)

_ANSWER = answers(RecommendationsAnswer)


@router.get("/users/{user_id:id}/recommendations", response_model=None, responses=_ANSWER)
async def recommend_to_user(
    *,
    services: WithServices,
    user_id: UserId,
    limit: Annotated[int, Query()] = 10,
    strategy: Annotated[str, Query(description="auto, mean or popular.")] = "auto",
    filter: FilterParameter = None,  # noqa: A002 - the name in the API
    exclude_ids: IdsParameter = None,
    exclude_seen: Annotated[bool, Query()] = True,
    min_score: ScoreParameter = None,
    explain: Annotated[bool, Query()] = False,
    fields: FieldsParameter = None,
) -> Response:
    """The best items for a user; a new user gets what is popular, labelled so."""
    request = RecommendRequest(
        user_id=user_id,
        limit=limit,
        strategy=strategy,
        filter=filter_of(filter),
        exclude_ids=tuple(exclude_ids or ()),
        exclude_seen=exclude_seen,
        min_score=min_score,
        explain=explain,
        fields=fields_of(fields),
    )
    return await read(services, _recommend, services, request)


@router.post("/users/{user_id:id}/recommendations", response_model=None, responses=_ANSWER)
async def recommend_to_user_by_body(
    services: WithServices, user_id: UserId, body: RecommendBody | None = None
) -> Response:
    """The same, with its options in a body."""
    request = _request(body or RecommendBody(), user_id=user_id)
    return await read(services, _recommend, services, request)


@router.post("/recommendations", response_model=None, responses=_ANSWER)
async def recommend_to_history(services: WithServices, body: InlineRecommendBody) -> Response:
    """Recommendations for a history that is sent along; nothing is stored."""
    request = _request(body, history=parse_inline_history(body.history, services.settings))
    return await read(services, _recommend, services, request)


@router.post("/recommendations/{recommendation_id}/next", response_model=None, responses=_ANSWER)
async def next_recommendations(services: WithServices, recommendation_id: str) -> Response:
    """The next page of an answer, without repeats; kept for 30 minutes by the process that gave the answer."""
    return await read(services, lambda: recommendations_answer(services.recommender.next_page(recommendation_id)))


@router.get("/items/{item_id:id}/similar", response_model=None, responses=_ANSWER)
async def similar_items(
    *,
    services: WithServices,
    item_id: ItemId,
    user_id: Annotated[str | None, Query()] = None,
    user_impact: ShareParameter = 0.3,
    limit: Annotated[int, Query()] = 10,
    filter: FilterParameter = None,  # noqa: A002 - the name in the API
    exclude_ids: IdsParameter = None,
    min_score: ScoreParameter = None,
    fields: FieldsParameter = None,
) -> Response:
    """The items nearest to an item, leaned towards a user's taste when one is named."""
    request = SimilarRequest(
        item_id=item_id,
        user_id=user_id,
        user_impact=user_impact,
        limit=limit,
        filter=filter_of(filter),
        exclude_ids=tuple(exclude_ids or ()),
        min_score=min_score,
        fields=fields_of(fields),
    )
    return await read(services, _similar, services, request)


@router.post("/items/{item_id:id}/similar", response_model=None, responses=_ANSWER)
async def similar_items_by_body(services: WithServices, item_id: ItemId, body: SimilarBody | None = None) -> Response:
    """The same, with its options in a body."""
    asked = body or SimilarBody()
    request = SimilarRequest(
        item_id=item_id,
        user_id=asked.user_id,
        user_impact=asked.user_impact,
        limit=asked.limit,
        filter=asked.filter,
        exclude_ids=tuple(asked.exclude_ids),
        min_score=asked.min_score,
        fields=tuple(asked.fields),
    )
    return await read(services, _similar, services, request)


def _request(
    body: RecommendBody, *, user_id: str | None = None, history: tuple[Event, ...] | None = None
) -> RecommendRequest:
    return RecommendRequest(
        user_id=user_id,
        history=history,
        limit=body.limit,
        strategy=body.strategy,
        filter=body.filter,
        exclude_ids=tuple(body.exclude_ids),
        exclude_seen=body.exclude_seen,
        min_score=body.min_score,
        explain=body.explain,
        fields=tuple(body.fields),
    )


def _recommend(services: Services, request: RecommendRequest) -> Response:
    return recommendations_answer(services.recommender.recommend(request))


def _similar(services: Services, request: SimilarRequest) -> Response:
    return recommendations_answer(services.similar.similar(request))
