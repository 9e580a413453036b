"""Running an installation over HTTP: jobs, generations, and what was set aside or refused."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ingest.errors import NotFoundError
from ingest.items import check_id
from ingest.store.records import Generation, SetAside
from serving.api.answers import WithServices, json_answer, read, work
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.requests import RetryBody
from serving.api.schemas import (
    GenerationAnswer,
    GenerationList,
    JobAnswer,
    RejectList,
    RetriedAnswer,
    SetAsideList,
)
from serving.services import Services

router = APIRouter(tags=["operations"], route_class=JsonRoute)

ListLimit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/jobs/{job_id}", response_model=None, responses=answers(JobAnswer))
async def get_job(services: WithServices, job_id: str) -> Response:
    """How far a submission has come."""
    return await read(services, _job, services, job_id)


@router.get("/generations", response_model=None, responses=answers(GenerationList))
async def list_generations(services: WithServices) -> Response:
    """All generations, newest first."""
    return await read(services, _generations, services)


@router.post("/generations", status_code=202, response_model=None, responses=answers(GenerationAnswer, 202))
async def begin_generation(services: WithServices) -> Response:
    """Begin a reindex; the live generation answers until the new one has passed the gate."""
    return json_answer(_generation(await work(services.reindex)), 202)


@router.post("/generations/{name}:activate", response_model=None, responses=answers(GenerationAnswer))
async def activate_generation(services: WithServices, name: str) -> Response:
    """Make a complete generation live, as when going back to the one before."""
    return json_answer(await work(_activate, services, name))


@router.delete("/generations/{name}", response_model=None, responses=answers(GenerationAnswer))
async def delete_generation(services: WithServices, name: str) -> Response:
    """Delete a generation that is neither live nor being built, and its files; answers with what it was."""
    return json_answer(_generation(await work(_discard, services, name)))


@router.get("/set-aside", response_model=None, responses=answers(SetAsideList))
async def list_set_aside(services: WithServices, limit: ListLimit = 100) -> Response:
    """Items that could not be placed, with the reason."""
    found = await read(services, services.ledger.pending.set_aside, limit)
    return json_answer({"items": [asdict(one) for one in found]})


@router.post("/set-aside:retry", status_code=202, response_model=None, responses=answers(RetriedAnswer, 202))
async def retry_set_aside(services: WithServices, body: RetryBody | None = None) -> Response:
    """Try set-aside items again: those that are named, or all."""
    retried = await work(_retry, services, body.item_ids if body else None)
    return json_answer({"retried": retried}, 202)


@router.get("/rejects", response_model=None, responses=answers(RejectList))
async def list_rejects(services: WithServices, limit: ListLimit = 100) -> Response:
    """Rows and message parts that were refused on their way in."""
    found = await read(services, services.ledger.rejects.list, limit)
    return json_answer({"rejects": [asdict(one) for one in found]})


def _generations(services: Services) -> Response:
    found = services.ledger.generations.list()
    return json_answer({"generations": [_counted(services, one) for one in found]})


def _job(services: Services, job_id: str) -> Response:
    job = services.ledger.jobs.get(check_id(job_id, "job_id"))
    if job is None:
        raise NotFoundError("there is no such job")
    errors: list[SetAside] = list(job.errors)
    return json_answer(
        {
            "job_id": job.job_id,
            "kind": job.kind,
            "state": job.state,
            "created_at": job.created_at,
            "total": job.total,
            "placed": job.placed,
            "failed": job.failed,
            "errors": [asdict(error) for error in errors],
        }
    )


def _activate(services: Services, name: str) -> dict[str, Any]:
    generation = services.activate(check_id(name, "name"))
    services.live.refresh()
    return _counted(services, generation)


def _discard(services: Services, name: str) -> Generation:
    generation = services.ledger.generations.get(check_id(name, "name"))
    services.discard(generation.name)
    return generation


def _retry(services: Services, item_ids: list[str] | None) -> int:
    if item_ids is not None:
        item_ids = [check_id(item_id, "item_ids") for item_id in item_ids]
    retried = services.ledger.pending.retry(item_ids)
    if item_ids:
        services.queue.wake(item_ids)
    return retried


def _counted(services: Services, generation: Generation) -> dict[str, Any]:
    return {**_generation(generation), "placed": services.ledger.placements.count(generation.name)}


def _generation(generation: Generation) -> dict[str, Any]:
    return {
        "name": generation.name,
        "state": generation.state.value,
        "fingerprint": generation.fingerprint,
        "dimensions": generation.dimensions,
        "items": generation.items,
        "created_at": generation.created_at,
        "live_at": generation.live_at,
        "report": dict(generation.report),
    }
