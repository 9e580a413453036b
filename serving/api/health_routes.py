"""Whether this process lives, and whether everything it needs answers."""

import logging
from collections.abc import Callable, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from ingest.errors import AkinError
from ingest.metrics import CONTENT_TYPE_LATEST, exposition
from serving.api.answers import WithServices, json_answer, work
from serving.api.documented import answers
from serving.api.error_responses import RETRY_AFTER_SECONDS, problem, request_id_of
from serving.api.schemas import HealthAnswer
from serving.services import Services

logger = logging.getLogger(__name__)
router = APIRouter(tags=["health"])

_DISPENSABLE = {"queue"}


@router.get("/healthz", response_model=None, responses=answers(HealthAnswer))
async def health() -> Response:
    """The process answers."""
    return json_answer({"status": "ok"})


@router.get("/readyz", response_model=None, responses=answers(HealthAnswer))
async def ready(services: WithServices, request: Request) -> Response:
    """Ask every dependency; 503 names those without which nothing can be answered.

    Without the broker it is 200 and `degraded`: questions are answered, and what is written waits in the ledger.
    """
    outcomes = await work(_ask_all, _checks(services))
    failed = [name for name, outcome in outcomes.items() if outcome != "ok"]
    if _DISPENSABLE.issuperset(failed):
        return json_answer({"status": "degraded" if failed else "ok", "checks": outcomes})
    return problem(
        503,
        "not_ready",
        f"{' and '.join(failed)} cannot be used now; `akin doctor` says more",
        request_id=request_id_of(request),
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        failed=failed,
        checks=outcomes,
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(services: WithServices) -> Response:
    """What this process counts and what the ledger says, in Prometheus' text format."""
    return Response(await work(exposition, services.metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _checks(services: Services) -> Mapping[str, Callable[[], object]]:
    live = services.live
    return {
        "ledger": services.ledger.ping,
        "index": lambda: live.ask(lambda view: view.collection.count()),
        "encoder": lambda: live.encoder().embed(["ready"]),
        "queue": services.queue.ping,
        **services.checks,
    }


def _ask_all(checks: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    return {name: _ask(name, check) for name, check in checks.items()}


def _ask(name: str, check: Callable[[], object]) -> str:
    try:
        check()
    except AkinError as error:
        outcome = error.code
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are still asked
        logger.error("check failed", extra={"check": name, "error": type(error).__name__})  # noqa: TRY400 - a traceback may name hosts
        outcome = "error"
    else:
        return "ok"
    return outcome
