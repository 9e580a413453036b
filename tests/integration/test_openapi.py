"""The description of the API that is checked in is the one the code gives."""

from pathlib import Path

from serving.api.describe import written

DESCRIBED = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def test_the_description_is_the_codes_own():
    # `make openapi` writes it anew; what changed in it is what clients will notice.
    assert DESCRIBED.read_bytes() == written()
