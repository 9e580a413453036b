"""Writes the API's own description into a file: `python -m serving.api.describe docs/openapi.json`."""

import sys
from pathlib import Path
from typing import Any

import orjson

from serving.api.app import create_app


def description() -> dict[str, Any]:
    """The OpenAPI document, as a server of this version gives it at `/openapi.json`."""
    return create_app(None).openapi()  # type: ignore[arg-type] # describing asks no service


def written() -> bytes:
    """The document as it stands in the file."""
    return orjson.dumps(description(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(written())
