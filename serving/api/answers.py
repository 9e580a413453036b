"""Answers as JSON bytes: written once with orjson, without passing through the schemas that describe them."""

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import orjson
from fastapi import Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from ingest.metrics import ANSWERED_ITEMS, ANSWERS
from serving.answers import Because, Recommendations, RecommendedItem
from serving.services import Services

P = ParamSpec("P")
T = TypeVar("T")


async def services_of(request: Request) -> Services:
    """The services that the app was made with; async, as the framework sends plain functions to a thread."""
    services: Services = request.app.state.services
    return services


WithServices = Annotated[Services, Depends(services_of)]


def json_answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


async def read(services: Services, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask something quick: on the event loop where everything is in the process, else in a thread."""
    if services.reads_inline:
        return question(*args, **kwargs)
    return await run_in_threadpool(question, *args, **kwargs)


async def work(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something that writes, embeds or takes long, in a thread."""
    return await run_in_threadpool(question, *args, **kwargs)


def recommendations_answer(answer: Recommendations, **more: Any) -> Response:
    """An answer of items in the shape that all of them share, and what only this one has."""
    ANSWERS.labels(answer.strategy).inc()
    for source, n in Counter(item.source for item in answer.items).items():
        ANSWERED_ITEMS.labels(source).inc(n)
    next_page = f"/v1/recommendations/{answer.recommendation_id}/next" if answer.has_next else None
    return json_answer(
        {
            "recommendation_id": answer.recommendation_id,
            "items": [_item(item) for item in answer.items],
            "generation": answer.generation,
            "strategy": answer.strategy,
            "profile": {
                "events": answer.profile.events,
                "used": answer.profile.used,
                "unknown": answer.profile.unknown,
            },
            "next": next_page,
            **({"relaxed": answer.relaxed} if answer.relaxed else {}),
            **more,
        }
    )


def _item(item: RecommendedItem) -> dict[str, Any]:
    shown: dict[str, Any] = {"item_id": item.item_id, "score": item.score, "source": item.source}
    if item.fields is not None:
        shown["fields"] = item.fields
    if item.because is not None:
        shown["because"] = [_because(reason) for reason in item.because]
        if item.others is not None:
            shown["others"] = {"events": item.others.events, "share": item.others.share}
        if item.shared:
            shown["shared"] = item.shared
        if item.prior is not None:
            shown["prior"] = item.prior
    if item.boost is not None:
        shown["boost"] = item.boost
    if item.relaxed:
        shown["relaxed"] = item.relaxed
    return shown


def _because(reason: Because) -> dict[str, Any]:
    shown: dict[str, Any] = {"item_id": reason.item_id, "event_type": reason.event_type, "share": reason.share}
    if reason.title is not None:
        shown["title"] = reason.title
    return shown
