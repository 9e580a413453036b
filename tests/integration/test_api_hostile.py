"""Hostile input: each gets a clear 4xx problem document that repeats nothing of it, and nothing else is harmed."""

import gzip
import logging

import orjson
import pytest
from starlette.testclient import TestClient

from ingest.events import Event
from ingest.items import Item
from serving.api.app import create_app
from tests.fakes import installation

JSON = {"content-type": "application/json"}
MARK = "s3cr3t"  # part of every hostile value: no answer may repeat it


@pytest.fixture(scope="module")
def akin(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("home"), max_body_bytes=8 * 1024 * 1024) as made:
        made.add_items([Item(item_id=f"i{n}", title=f"title {n}", attributes={"year": n}) for n in range(10)])
        made.add_events([Event(event_id="e", user_id="ann", item_id="i1", type="like")])
        yield made


@pytest.fixture(scope="module")
def client(akin):
    with TestClient(create_app(akin.services()), raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_else_is_harmed(akin, client):
    yield
    assert akin.ledger.items.count() == 10
    answer = client.get("/v1/users/ann/recommendations?limit=9")
    assert len(answer.json()["items"]) == 9


def refused(response, *statuses):
    assert response.status_code in statuses, response.text[:300]
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["code"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert MARK not in response.text
    assert len(response.text) < 50_000
    return body


RAW_BODIES = {
    "not JSON": b'{"title": "s3cr3t"',
    "empty": b"",
    "NaN": b'{"title": "s3cr3t", "version": NaN}',
    "infinity": b'{"title": "s3cr3t", "version": Infinity}',
    "1e400": b'{"title": "s3cr3t", "version": 1e400}',
    "5,000 digits": b'{"title": "s3cr3t", "version": ' + b"1" * 5_000 + b"}",
    "lone surrogate": b'{"title": "s3cr3t \\ud800"}',
    "bad UTF-8": b'{"title": "s3cr3t \xff"}',
    "UTF-16": '{"title": "s3cr3t"}'.encode("utf-16"),
    "depth 100": b'{"attributes": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}",
    "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
    "objects 900 deep": b'{"a":' * 900 + b"1" + b"}" * 900,
    "a list": b'["s3cr3t"]',
    "a string": b'"s3cr3t"',
    "null": b"null",
}


@pytest.mark.parametrize("body", RAW_BODIES.values(), ids=RAW_BODIES.keys())
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/items/bad"),
        ("PATCH", "/v1/items/i1"),
        ("POST", "/v1/items:batch"),
        ("POST", "/v1/events"),
        ("POST", "/v1/recommendations"),
        ("POST", "/v1/search"),
    ],
)
def test_bodies_that_are_no_proper_json_object(client, method, path, body):
    refused(client.request(method, path, content=body, headers=JSON), 400, 422)


ITEMS = {
    "no text at all": {},
    "empty texts": {"title": "", "text": " \n", "categories": [""]},
    "a text of 1 MB": {"text": MARK * 175_000},
    "a title of 10,000": {"title": MARK * 2_000},
    "a number for a title": {"title": 7},
    "an unknown field": {"title": "x", "vector": [1.0]},
    "an unknown field with a hostile name": {"title": "x", f"{MARK} <script>": 1},
    "a wrong attribute type": {"title": "x", "attributes": {"year": MARK}},
    "an integer that no index compares exactly": {"title": "x", "attributes": {"year": 2**53 + 1}},
    "a nested attribute": {"title": "x", "attributes": {"year": {"a": {"b": MARK}}}},
    "many attributes": {"title": "x", "attributes": {f"a{n}": n for n in range(10_000)}},
    "many categories": {"title": "x", "categories": [MARK] * 10_000},
    "a version that is no integer": {"title": "x", "version": 1.5},
    "a huge version": {"title": "x", "version": 2**63},
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS.keys())
def test_items_that_do_not_fit(client, item):
    refused(client.put("/v1/items/bad", json=item), 422)
    assert refused(client.post("/v1/items:batch", json={"items": [{"item_id": "bad", **item}]}), 422)["errors"]


PATHS = {
    "NUL": "a%00b",
    "line break": "a%0d%0ab",
    "only spaces": "%20%20",
    "300 characters": "x" * 300,
    "bad UTF-8": "%ff%fe",
    "lone surrogate": "%ed%a0%80",
    "overlong slash": "%c0%af",
    "bidi override": "%e2%80%ae",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_ids_in_paths_that_are_no_ids(client, path):
    for answer in (
        client.get(f"/v1/items/{path}"),
        client.put(f"/v1/items/{path}", json={"title": "x"}),
        client.patch(f"/v1/items/{path}", json={"title": "x"}),
        client.delete(f"/v1/items/{path}"),
        client.get(f"/v1/items/{path}/similar"),
        client.get(f"/v1/users/{path}/recommendations"),
        client.get(f"/v1/users/{path}/history"),
        client.get(f"/v1/users/{path}/profile"),
        client.get(f"/v1/users/{path}/export"),
        client.delete(f"/v1/users/{path}"),
        client.get(f"/v1/jobs/{path}"),
    ):
        refused(answer, 400, 404, 422)


@pytest.mark.parametrize(
    "event",
    [
        {"user_id": "a\0", "item_id": "i1", "type": "view"},
        {"user_id": "u" * 300, "item_id": "i1", "type": "view"},
        {"user_id": 7, "item_id": "i1", "type": "view"},
        {"user_id": "u", "item_id": "i1", "type": MARK},
        {"user_id": "u", "item_id": "i1", "type": "view", "timestamp": "2999-01-01T00:00:00Z"},
        {"user_id": "u", "item_id": "i1", "type": "view", "timestamp": MARK},
        {"user_id": "u", "item_id": "i1", "type": "view", "timestamp": 1e300},
        {"user_id": "u", "item_id": "i1", "type": "view", "value": MARK},
        {"user_id": "u", "item_id": "i1", "type": "view", "value": 1e300},
        {"user_id": "u", "item_id": "i1", "type": "view", "dwell_ms": -1},
        {"user_id": "u", "item_id": "i1", "type": "view", f"{MARK} <script>": 1},
        {"events": "many"},
        {"events": [], "user_id": "u"},
    ],
)
def test_events_that_do_not_fit(client, event):
    refused(client.post("/v1/events", json=event), 422)


def nested_filter(depth):
    tree = {"eq": {"year": 1}}
    for _ in range(depth):
        tree = {"not": tree}
    return tree


FILTERS = {
    "undeclared": {"eq": {"publisher": MARK}},
    "wrong type": {"eq": {"year": MARK}},
    "boolean for a number": {"gte": {"year": True}},
    "unknown operator": {"regex": {"year": MARK}},
    "an engine's own filter": {"must": [{"key": "year"}]},
    "nested": nested_filter(10),
    "nested 100 deep": nested_filter(100),
    "10,000 conditions": {"and": [{"eq": {"year": n}} for n in range(10_000)]},
    "a huge list": {"in": {"year": list(range(100_000))}},
    "two operators": {"eq": {"year": 1}, "in": {"year": [1]}},
}


@pytest.mark.parametrize("filter_", FILTERS.values(), ids=FILTERS.keys())
def test_filters_that_do_not_fit(client, filter_):
    for path, body in (
        ("/v1/users/ann/recommendations", {}),
        ("/v1/users/new/recommendations", {}),
        ("/v1/recommendations", {"history": []}),
        ("/v1/items/i1/similar", {}),
        ("/v1/search", {"query": "x"}),
    ):
        refused(client.post(path, json={**body, "filter": filter_}), 400, 422)
    as_text = orjson.dumps(filter_).decode()
    if len(as_text) < 30_000:
        refused(client.get("/v1/users/ann/recommendations", params={"filter": as_text}), 400, 422)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=1000000000",
        "limit=" + "9" * 5_000,
        "limit=s3cr3t",
        "limit=1.5",
        "strategy=s3cr3t",
        "fields=vector",
        "min_score=nan",
        "min_score=inf",
        "min_score=s3cr3t",
        "min_score=1e300",
        "explain=perhaps",
        "filter=s3cr3t",
        "filter=%00",
        "filter=%ff",
        "filter=NaN",
        "filter=[1]",
        "filter=" + "[" * 5_000,
    ],
)
def test_query_strings_that_do_not_fit(client, query):
    refused(client.get(f"/v1/users/ann/recommendations?{query}"), 400, 422)


@pytest.mark.parametrize(
    "body",
    [
        {"limit": "10"},
        {"limit": True},
        {"limit": 10**9},
        {"exclude_ids": "i1"},
        {"exclude_ids": ["x"] * 10_001},
        {"exclude_seen": 1},
        {"fields": [MARK]},
        {"filter": MARK},
        {"min_score": 1e300},
        {MARK + " <script>": 1},
    ],
)
def test_options_that_do_not_fit(client, body):
    refused(client.post("/v1/users/ann/recommendations", json=body), 422)


@pytest.mark.parametrize("user_id", ["a\0", "u" * 300, ""])
def test_users_in_options_that_are_no_users(client, user_id):
    refused(client.post("/v1/search", json={"query": "x", "user_id": user_id}), 422)
    refused(client.post("/v1/items/i1/similar", json={"user_id": user_id}), 422)


def test_searches_that_do_not_fit(client):
    for query in ("", " ", MARK * 10_000, "\0"):
        answer = client.post("/v1/search", json={"query": query})
        assert answer.status_code in (200, 422) if query == "\0" else refused(answer, 422)


def test_histories_that_do_not_fit(client):
    for history in ([7], [{"item_id": "a\0"}], [{}], [{"item_id": "x", MARK: 1}], [{"item_id": "x"}] * 501, MARK):
        refused(client.post("/v1/recommendations", json={"history": history}), 422)


def test_batches_that_are_too_large(client):
    items = [{"item_id": str(n), "title": "x"} for n in range(10_001)]
    assert refused(client.post("/v1/items:batch", json={"items": items}), 422)["code"] == "batch_too_large"
    events = [{"user_id": "u", "item_id": "i1", "type": "view"}] * 10_001
    assert refused(client.post("/v1/events", json={"events": events}), 422)["code"] == "batch_too_large"


def test_a_body_over_the_limit_whatever_its_length_says(client):
    body = b'{"title": "' + b"x" * (40 * 1024 * 1024) + b'"}'
    assert refused(client.put("/v1/items/bad", content=body, headers=JSON), 413)["code"] == "body_too_large"
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    refused(client.put("/v1/items/bad", content=pieces, headers=JSON), 413)
    # A length that lies is counted over; the test client would correct it, so the header alone is tried.
    refused(client.put("/v1/items/bad", content=b"{}", headers={**JSON, "content-length": "9" * 30}), 413)


def test_a_body_of_very_many_values(client):
    body = b'{"items": [' + b"1," * 2_500_000 + b"1]}"
    refused(client.post("/v1/items:batch", content=body, headers=JSON), 413)


def test_encoded_bodies_and_other_media_types(client):
    body = b'{"title": "s3cr3t"}'
    bomb = {**JSON, "content-encoding": "gzip"}
    refused(client.put("/v1/items/bad", content=gzip.compress(body), headers=bomb), 415)
    refused(client.put("/v1/items/bad", content=body, headers={"content-type": "text/plain"}), 415)
    refused(client.put("/v1/items/bad", content=body), 415)


def test_what_nobody_expected_is_a_500_without_its_words(akin, caplog):
    class Broken:
        def recommend(self, _):
            raise RuntimeError(f"the text was {MARK}")

    services = akin.services(recommender=Broken())
    with TestClient(create_app(services), raise_server_exceptions=False) as client, caplog.at_level(logging.INFO):
        refused(client.get("/v1/users/ann/recommendations"), 500)
    ours = [vars(record) for record in caplog.records if record.name.startswith("serving")]
    assert [record["message"] for record in ours] == ["unexpected error", "request"]
    assert MARK not in str(ours)
    assert "ann" not in str(ours)
    assert ours[0]["frames"]
    assert ours[1]["route"] == "/v1/users/{user_id}/recommendations"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("PUT", "/v1/items/a", {"title": "A", "name": "B"}, "name: there is no such field"),
        ("POST", "/v1/search", {"limit": 3}, "query: is missing"),
        ("POST", "/v1/events", [], "body: must be a JSON object"),
    ],
)
def test_what_is_wrong_with_a_body_is_said_in_its_own_words(client, method, path, body, said):
    assert refused(client.request(method, path, json=body), 422)["detail"] == said
