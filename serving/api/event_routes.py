"""Events over HTTP, one or many."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from ingest.errors import InvalidInputError
from ingest.events import parse_event
from ingest.intake import parse_events
from ingest.submit import RefusedPart, submit_events
from serving.api.answers import WithServices, json_answer, work
from serving.api.documented import answers
from serving.api.error_responses import NothingAcceptedError
from serving.api.json_body import JsonRoute
from serving.api.schemas import AcceptedEvents
from serving.services import Services

router = APIRouter(tags=["events"], route_class=JsonRoute)

_EVENT = {"$ref": "#/components/schemas/EventBody"}
_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        _EVENT,
                        {
                            "type": "object",
                            "required": ["events"],
                            "properties": {"events": {"type": "array", "items": _EVENT}},
                        },
                    ]
                }
            }
        },
    }
}


@router.post(
    "/events",
    status_code=202,
    response_model=None,
    responses=answers(AcceptedEvents, 202, "In the ledger."),
    openapi_extra=_SCHEMA,
)
async def add_events(services: WithServices, body: Annotated[dict[str, Any], Body()]) -> Response:
    """Add one event, or many as `{"events": [...]}`. An `event_id` makes a retry safe."""
    if "events" not in body:
        return await work(_add_event, services, body)
    if len(body) > 1 or not isinstance(body["events"], list):
        raise InvalidInputError(
            "wrong_type", "many events are sent as one list under `events`, and nothing else", "events"
        )
    return await work(_add_events, services, body["events"])


def _add_event(services: Services, data: dict[str, Any]) -> Response:
    event = parse_event(data, services.settings.event_weights.keys(), now=datetime.now(UTC))
    submission = submit_events(services.ledger, services.settings, [event])
    if submission.errors:
        raise InvalidInputError(submission.errors[0].code, submission.errors[0].detail)
    return _accepted(submission.accepted, submission.duplicates, ())


def _add_events(services: Services, data: Sequence[Any]) -> Response:
    limit = services.settings.max_batch_items
    if len(data) > limit:
        raise InvalidInputError("batch_too_large", f"at most {limit} events in one request; send several", "events")
    events, places, errors = parse_events(services.settings, data, datetime.now(UTC))
    accepted = duplicates = 0
    if events:
        submission = submit_events(services.ledger, services.settings, events)
        accepted, duplicates = submission.accepted, submission.duplicates
        errors += [error.at(places[error.index]) for error in submission.errors]
    return _accepted(accepted, duplicates, errors)


def _accepted(accepted: int, duplicates: int, errors: Sequence[RefusedPart]) -> Response:
    listed = [error.as_json() for error in sorted(errors, key=lambda error: error.index)]
    if listed and not accepted:
        raise NothingAcceptedError("every event was refused; `errors` says why for each", listed)
    return json_answer({"accepted": accepted, "duplicates": duplicates, "errors": listed}, 202)
