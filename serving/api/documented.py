"""How routes describe their answers: the schema of the good one, and problem documents for the rest."""

from typing import Any

from pydantic import BaseModel

from serving.api.error_responses import MEDIA_TYPE
from serving.api.schemas import Problem

Responses = dict[int | str, dict[str, Any]]

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
ERRORS: Responses = {
    "4XX": {"description": "The request does not fit; `code` says why.", "model": Problem, **_PROBLEM},
    422: {"description": "A part of the request does not fit; `field` names it.", **_PROBLEM},
    503: {"description": "A dependency does not answer now; try again.", **_PROBLEM},
}


def answers(model: type[BaseModel], status: int = 200, description: str = "The answer.") -> Responses:
    """The responses of a route that answers with `model`."""
    return {status: {"model": model, "description": description}}
