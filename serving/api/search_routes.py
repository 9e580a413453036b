"""Search over HTTP."""

from fastapi import APIRouter, Request, Response
from msgspec import to_builtins

from serving.api.answers import WithServices, recommendations_answer, services_of, work
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.query_string import asked, described
from serving.api.requests import SearchBody, page_limit
from serving.api.schemas import SearchAnswer
from serving.search import SearchRequest
from serving.services import Services

router = APIRouter(tags=["search"], route_class=JsonRoute)

_ANSWER = answers(SearchAnswer)


@router.get("/search", response_model=None, responses=_ANSWER, openapi_extra=described(SearchBody))
async def search(request: Request) -> Response:
    """The items that fit a text best by words, by meaning or by both, leaned towards a user's taste when one is named.

    Facets count the best 1,000 items that pass the filter, in a lexical search the best 5,000 of those that match.
    """
    services = await services_of(request)
    return await work(_search, services, _request(services, asked(request, SearchBody)))


@router.post("/search", response_model=None, responses=_ANSWER)
async def search_by_body(services: WithServices, body: SearchBody) -> Response:
    """The same, with its options in a body."""
    return await work(_search, services, _request(services, body))


def _request(services: Services, body: SearchBody) -> SearchRequest:
    return SearchRequest(
        query=body.query,
        mode=body.mode,
        user_id=body.user_id,
        personalization=body.personalization,
        limit=page_limit(body, services.settings),
        filter=body.filter,
        exclude_ids=tuple(body.exclude_ids),
        min_score=body.min_score,
        fields=tuple(body.fields),
        facets=tuple(dict.fromkeys(body.facets)),
        facet_limit=body.facet_limit,
    )


def _search(services: Services, request: SearchRequest) -> Response:
    answer = services.searcher.search(request)
    if answer.facets is None:
        return recommendations_answer(answer)
    return recommendations_answer(answer, facets=to_builtins(answer.facets))
