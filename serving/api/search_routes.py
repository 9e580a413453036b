"""Search over HTTP."""

from fastapi import APIRouter, Request, Response

from serving.api.answers import WithServices, recommendations_answer, services_of, work
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.query_string import asked, described
from serving.api.requests import SearchBody
from serving.api.schemas import RecommendationsAnswer
from serving.search import SearchRequest
from serving.services import Services

router = APIRouter(tags=["search"], route_class=JsonRoute)

_ANSWER = answers(RecommendationsAnswer)


@router.get("/search", response_model=None, responses=_ANSWER, openapi_extra=described(SearchBody))
async def search(request: Request) -> Response:
    """The items nearest in meaning to a text, leaned towards a user's taste when one is named."""
    services = await services_of(request)
    return await work(_search, services, _request(asked(request, SearchBody)))


@router.post("/search", response_model=None, responses=_ANSWER)
async def search_by_body(services: WithServices, body: SearchBody) -> Response:
    """The same, with its options in a body."""
    return await work(_search, services, _request(body))


def _request(body: SearchBody) -> SearchRequest:
    return SearchRequest(
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


def _search(services: Services, request: SearchRequest) -> Response:
    return recommendations_answer(services.searcher.search(request))
