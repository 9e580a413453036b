"""The HTTP application, made from services that somebody else opened and will close."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from threadpoolctl import threadpool_limits

from ingest.waiting import wait_until_ready
from serving.api import (
    console_routes,
    error_responses,
    event_routes,
    health_routes,
    item_routes,
    operation_routes,
    recommendation_routes,
    search_routes,
    user_routes,
)
from serving.api.access import Access, check_scope, is_open, scope_of
from serving.api.documented import ERRORS
from serving.api.envelope import Envelope
from serving.api.requests import EventBody, InlineEvent, ItemBody
from serving.api.templates import PREFIX, Templates
from serving.services import Services

# `/items/{id}` takes any path below /items, so what ends in /similar comes first; the same for users.
_ROUTERS = (
    recommendation_routes.router,  # first also because it is asked most: every router before it costs each request
    item_routes.batch_router,
    item_routes.router,
    event_routes.router,
    search_routes.router,
    user_routes.router,
    operation_routes.router,
    console_routes.router,
)
_DESCRIBED_ONLY = (ItemBody, EventBody, InlineEvent)  # parsed by the record's own parsers, so no route names them


def create_app(services: Services) -> FastAPI:
    """The API over these services. Every answer is JSON; every error is an RFC 9457 problem document."""
    # The documentation page brings its own scripts: it works where no other network does.
    app = FastAPIOffline(
        title="akin",
        version=_version(),
        summary="Search and recommendations for text catalogues.",
        redirect_slashes=False,
        redoc_url=None,
        responses=ERRORS,
        lifespan=_running,
        dependencies=[Depends(check_scope)],
    )
    app.state.services = services
    app.add_middleware(Access, services=services)
    below = [route for router in _ROUTERS for route in router.routes]
    app.add_middleware(
        Envelope, templates=Templates(below, health_routes.router.routes)
    )  # added last, so the outermost
    error_responses.install(app)
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health_routes.router)
    console_routes.install(app)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    stop = threading.Event()
    warming = asyncio.create_task(run_in_threadpool(wait_until_ready, app.state.services.warm, stop))
    # A query multiplies small matrices: 0.1 ms on one thread. On several it waits until each has got a core, which took
    # 57 ms in the median on a busy machine. Training runs in processes of its own.
    with threadpool_limits(1, user_api="blas"):
        yield
    stop.set()
    await asyncio.wait([warming])  # it reads from what is closed next


def _description(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        for model in _DESCRIBED_ONLY:
            schemas.setdefault(model.__name__, model.model_json_schema())
        _describe_keys(described)
        app.openapi_schema = described
    return app.openapi_schema


def _describe_keys(described: dict[str, Any]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "description": "An API key, made with `akin keys create`."}
    described["components"]["securitySchemes"] = {"key": scheme}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if not is_open(path):
                scope = scope_of(method.upper(), path.removeprefix("/v1"))
                operation["security"] = [{"key": [scope.value]}]


def _version() -> str:
    try:
        return version("akin")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
