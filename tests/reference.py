"""Where the reference data lies: beside the repository, never inside it."""

import os
from pathlib import Path

import pytest

MAPPINGS = Path(__file__).parent
MOVIE_ATTRIBUTES = {
    "year": "integer",
    "runtime_min": "integer",
    "vote_average": "float",
    "director": "keyword",
    "tags": "keyword",
}
BOOK_ATTRIBUTES = {
    "authors": "keyword",
    "series": "keyword",
    "year": "integer",
    "language_code": "keyword",
    "average_rating": "float",
    "num_pages": "integer",
}


def reference_data(name: str) -> Path:
    """The folder of one data set ("movies", "books"); skips the test where it is not there."""
    given = os.environ.get("AKIN_REFERENCE_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / name / "items.parquet").is_file():
        pytest.skip(
            f"no reference data {name}: put it into a folder shared/data beside the repository, or name its folder in AKIN_REFERENCE_DATA"
        )
    return folder / name
