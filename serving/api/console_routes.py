"""The console's page and files, and the questions that only it asks."""

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.background import BackgroundTask
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from ingest.errors import NotFoundError
from serving.api.answers import WithServices, json_answer, work
from serving.api.documented import answers
from serving.api.schemas import EvaluationAnswer, LandscapeAnswer, OverviewAnswer, UserList
from serving.services import Services

router = APIRouter(tags=["console"])

_STATIC = str(files("serving.console") / "static")


def install(app: FastAPI) -> None:
    """The page at `/` and its files under `/console`: what it is made of is in the package, nothing is fetched."""
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/console", StaticFiles(directory=_STATIC))


async def _page() -> Response:
    return FileResponse(f"{_STATIC}/index.html", media_type="text/html")


@router.get("/overview", response_model=None, responses=answers(OverviewAnswer))
async def overview(services: WithServices, request: Request) -> Response:
    """What is placed, what waits and since when, what answers, and what whoever asks may do: all at a glance."""
    caller = request.scope.get("akin_caller")
    scopes = ["admin"] if caller is None else sorted(caller.scopes)
    answer = json_answer({**await work(services.overview.read), "scopes": scopes})
    answer.background = BackgroundTask(services.prepare_map)  # every page of the console asks this first, and often
    return answer


@router.get("/users", response_model=None, responses=answers(UserList))
async def list_users(
    services: WithServices,
    prefix: Annotated[str, Query(max_length=256)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Users whose id begins with `prefix`, in the order of their ids, with how many events each has."""
    found = await work(services.ledger.events.users, prefix.replace("\x00", ""), limit)
    return json_answer({"users": [{"user_id": user_id, "events": events} for user_id, events in found]})


@router.get("/map", response_model=None, responses=answers(LandscapeAnswer))
async def catalogue_map(services: WithServices) -> Response:
    """Where the items lie by their texts, in two dimensions; at most 10,000 of them."""
    return await work(_map, services)


@router.get("/evaluation", response_model=None, responses=answers(EvaluationAnswer))
async def last_evaluation(services: WithServices) -> Response:
    """The report of the last `akin evaluate` on this installation's machine."""
    return await work(_evaluation, services)


def _map(services: Services) -> Response:
    return json_answer(services.cartographer.draw())


def _evaluation(services: Services) -> Response:
    path = services.settings.evaluation_report
    try:
        return Response(path.read_bytes(), media_type="application/json")
    except FileNotFoundError as error:
        raise NotFoundError(
            "there is no evaluation yet; run `akin evaluate --items FILE --events FILE --home FOLDER` of this akin"
        ) from error
