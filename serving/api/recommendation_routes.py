"""Recommendations and similar items over HTTP."""

from fastapi import APIRouter, Request, Response

from ingest.events import Event
from serving.api.answers import WithServices, read, recommendations_answer, services_of
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.paths import ItemId, UserId
from serving.api.query_string import asked, described
from serving.api.requests import InlineRecommendBody, RecommendBody, SimilarBody, page_limit
from serving.api.schemas import RecommendationsAnswer
from serving.inline_history import parse_inline_history
from serving.request import RecommendRequest
from serving.scenarios import in_scenario
from serving.services import Services
from serving.similar import SimilarRequest

router = APIRouter(tags=["recommendations"], route_class=JsonRoute)

_ANSWER = answers(RecommendationsAnswer)


@router.get(
    "/users/{user_id:id}/recommendations",
    response_model=None,
    responses=_ANSWER,
    openapi_extra=described(RecommendBody, path="user_id"),
)
async def recommend_to_user(request: Request) -> Response:
    """The best items for a user; a new user gets what is popular, labelled so."""
    services = await services_of(request)
    wanted = _request(services, asked(request, RecommendBody), user_id=request.path_params["user_id"])
    return await read(services, _recommend, services, wanted)


@router.post("/users/{user_id:id}/recommendations", response_model=None, responses=_ANSWER)
async def recommend_to_user_by_body(
    services: WithServices, user_id: UserId, body: RecommendBody | None = None
) -> Response:
    """The same, with its options in a body."""
    request = _request(services, body or RecommendBody(), user_id=user_id)
    return await read(services, _recommend, services, request)


@router.post("/recommendations", response_model=None, responses=_ANSWER)
async def recommend_to_history(services: WithServices, body: InlineRecommendBody) -> Response:
    """Recommendations for a history that is sent along; nothing is stored."""
    request = _request(services, body, history=parse_inline_history(body.history, services.settings))
    return await read(services, _recommend, services, request)


@router.post("/recommendations/{recommendation_id}/next", response_model=None, responses=_ANSWER)
async def next_recommendations(services: WithServices, recommendation_id: str) -> Response:
    """The next page of an answer, without repeats, for 30 minutes and from any process.

    For a history that was sent along, of which nothing is stored, only the process that gave the answer knows it.
    """
    return await read(services, lambda: recommendations_answer(services.recommender.next_page(recommendation_id)))


@router.get(
    "/items/{item_id:id}/similar",
    response_model=None,
    responses=_ANSWER,
    openapi_extra=described(SimilarBody, path="item_id"),
)
async def similar_items(request: Request) -> Response:
    """The items nearest to an item, leaned towards a user's taste when one is named."""
    services = await services_of(request)
    wanted = _similar_request(services, asked(request, SimilarBody), item_id=request.path_params["item_id"])
    return await read(services, _similar, services, wanted)


@router.post("/items/{item_id:id}/similar", response_model=None, responses=_ANSWER)
async def similar_items_by_body(services: WithServices, item_id: ItemId, body: SimilarBody | None = None) -> Response:
    """The same, with its options in a body."""
    return await read(services, _similar, services, _similar_request(services, body or SimilarBody(), item_id=item_id))


def _similar_request(services: Services, body: SimilarBody, *, item_id: str) -> SimilarRequest:
    return SimilarRequest(
        item_id=item_id,
        user_id=body.user_id,
        user_impact=body.user_impact,
        limit=page_limit(body, services.settings),
        filter=body.filter,
        exclude_ids=tuple(body.exclude_ids),
        min_score=body.min_score,
        fields=tuple(body.fields),
    )


def _request(
    services: Services, body: RecommendBody, *, user_id: str | None = None, history: tuple[Event, ...] | None = None
) -> RecommendRequest:
    request = RecommendRequest(
        user_id=user_id,
        history=history,
        limit=page_limit(body, services.settings),
        strategy=body.strategy,
        filter=body.filter,
        exclude_ids=tuple(body.exclude_ids),
        exclude_seen=body.exclude_seen,
        min_score=body.min_score,
        explain=body.explain or body.reasons is not None,
        reasons=body.reasons,
        fields=tuple(body.fields),
        diversity=body.diversity,
        max_per=body.max_per,
        explore=body.explore,
        seed=body.seed,
        relax=tuple(body.relax),
    )
    return in_scenario(request, body.scenario, services.settings, given=body.model_fields_set)


def _recommend(services: Services, request: RecommendRequest) -> Response:
    return recommendations_answer(services.recommender.recommend(request))


def _similar(services: Services, request: SimilarRequest) -> Response:
    return recommendations_answer(services.similar.similar(request))
