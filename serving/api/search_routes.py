"""Search over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from serving.api.answers import WithServices, recommendations_answer, work
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.requests import (
    FieldsParameter,
    FilterParameter,
    IdsParameter,
    ScoreParameter,
    SearchBody,
    ShareParameter,
    fields_of,
    filter_of,
)
from serving.api.schemas import RecommendationsAnswer
from serving.search import SearchRequest
from serving.services import Services

router = APIRouter(tags=["search"], route_class=JsonRoute)

_ANSWER = answers(RecommendationsAnswer)


@router.get("/search", response_model=None, responses=_ANSWER)
async def search(
    *,
    services: WithServices,
    query: Annotated[str, Query()],
    mode: Annotated[str, Query(description="semantic.")] = "semantic",
    user_id: Annotated[str | None, Query()] = None,
    personalization: ShareParameter = 0.2,
    limit: Annotated[int, Query()] = 10,
    filter: FilterParameter = None,  # noqa: A002 - the name in the API
    exclude_ids: IdsParameter = None,
    min_score: ScoreParameter = None,
    fields: FieldsParameter = None,
) -> Response:
    """The items nearest in meaning to a text, leaned towards a user's taste when one is named."""
    request = SearchRequest(
        query=query,
        mode=mode,
        user_id=user_id,
        personalization=personalization,
        limit=limit,
        filter=filter_of(filter),
        exclude_ids=tuple(exclude_ids or ()),
        min_score=min_score,
        fields=fields_of(fields),
    )
    return await work(_search, services, request)


@router.post("/search", response_model=None, responses=_ANSWER)
async def search_by_body(services: WithServices, body: SearchBody) -> Response:
    """The same, with its options in a body."""
    request = SearchRequest(
        query=body.query,
        mode=body.mode,
        user_id=body.user_id,
        personalization=body.personalization,
        limit=body.limit,
        filter=body.filter,
        exclude_ids=tuple(body.exclude_ids),
        min_score=body.min_score,
        fields=tuple(body.fields),
    )
    return await work(_search, services, request)


def _search(services: Services, request: SearchRequest) -> Response:
    return recommendations_answer(services.searcher.search(request))
