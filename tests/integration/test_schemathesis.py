"""Requests made from the API's own description: none is answered with 500 or above, whatever it holds.

`make schemathesis` makes 10,000 and more; here it is a few for each operation. They all meet one installation, so what
one request leaves behind is what the next one finds. schemathesis makes the requests; its pytest plugin does not work
with this pytest, so hypothesis runs them.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from ingest.events import Event
from ingest.items import Item
from ingest.keys import Scope
from serving.api.app import create_app
from serving.api.describe import description
from tests.fakes import installation

EXAMPLES = int(os.environ.get("AKIN_SCHEMATHESIS_EXAMPLES", "5"))  # of each operation, fitting and not fitting
OPERATIONS = [(path, method) for path, methods in description()["paths"].items() for method in methods]
tried: list[str] = []


@pytest.fixture(scope="module")
def akin(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("schemathesis"), max_body_bytes=1024 * 1024) as made:
        made.add_items([Item(item_id=f"i{n}", title=f"title {n}", attributes={"year": n}) for n in range(30)])
        made.add_events([Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type="like") for n in range(5)])
        yield made


@pytest.fixture(scope="module")
def key(akin):
    return akin.ledger.keys.create("everything", [Scope.ADMIN])[1]


@pytest.fixture(scope="module")
def app(akin):
    # Building generations again and again would only test the patience of whoever waits.
    return create_app(akin.services(reindex=akin.ledger.generations.live))


@pytest.fixture(scope="module", autouse=True)
def say_how_many():
    yield
    print(f"\n{len(tried)} requests made from the description")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "not fitting"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.timeout(1_800)
def test_no_request_is_answered_with_500(app, key, path, method, mode):
    described = schemathesis.openapi.from_asgi("/openapi.json", app)
    cases = described[path][method.upper()].as_strategy(generation_mode=mode)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case):
        tried.append(path)
        answer = case.call(headers={**(case.headers or {}), "Authorization": f"Bearer {key}"})
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"]
            assert answer.json()["code"]

    try:
        ask()
    except Unsatisfiable:
        pytest.skip("the operation takes nothing that could be wrong")
