"""Every route of the HTTP API over a real ledger and a real index."""

import logging
from functools import partial
from itertools import islice
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient
from threadpoolctl import threadpool_info

from ingest.errors import UnavailableError
from ingest.events import Event
from ingest.index.protocol import CollectionSpec
from ingest.items import Item
from ingest.queue import NoQueue
from ingest.store.ledger import open_ledger
from serving.api.app import create_app
from serving.scenarios import check_scenarios
from tests.fakes import installation
from tests.processes import soon

ODD_ID = "a/b %2F c/similar"


@pytest.fixture(scope="module")
def akin(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("home")) as made:
        made.add_items(
            [
                Item(item_id=f"i{n}", title=f"title {n % 3}", categories=(f"c{n % 3}",), attributes={"year": 2000 + n})
                for n in range(20)
            ]
        )
        made.add_events([Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type="like") for n in (0, 3)])
        yield made


@pytest.fixture(scope="module")
def client(akin):
    with TestClient(create_app(akin.services()), raise_server_exceptions=False) as made:
        yield made


def is_problem(response, status, code):
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def item_ids(response):
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


def test_an_item_is_put_read_patched_and_deleted(akin, client):
    path = f"/v1/items/{quote(ODD_ID, safe='')}"
    put = client.put(path, json={"title": "Odd", "categories": ["x"], "attributes": {"year": 1, "free": True}})
    assert put.status_code == 202
    assert put.json()["accepted"] == 1
    akin.place_all()
    job = client.get(f"/v1/jobs/{put.json()['job_id']}").json()
    assert (job["state"], job["total"], job["placed"]) == ("done", 1, 1)
    assert client.get(path).json()["item_id"] == ODD_ID

    patched = client.patch(path, json={"title": "Odder", "attributes": {"year": 2, "free": None}})
    assert patched.status_code == 202
    shown = client.get(path).json()
    assert (shown["title"], shown["categories"], shown["attributes"]) == ("Odder", ["x"], {"year": 2})

    akin.place_all()
    assert ODD_ID not in item_ids(client.get(f"{path}/similar"))
    assert client.delete(path).status_code == 202
    akin.place_all()
    is_problem(client.get(path), 404, "not_found")
    is_problem(client.patch(path, json={"title": "x"}), 404, "not_found")
    assert client.delete(path).status_code == 202
    assert client.put(path, json={"title": "back"}).status_code == 202
    client.delete(path)
    akin.place_all()


def test_an_older_version_is_a_conflict(akin, client):
    assert client.put("/v1/items/versioned", json={"title": "new", "version": 5}).status_code == 202
    is_problem(client.put("/v1/items/versioned", json={"title": "old", "version": 4}), 409, "stale_version")
    client.delete("/v1/items/versioned")
    akin.place_all()


def test_a_body_may_not_name_another_item_than_its_path(client):
    is_problem(client.put("/v1/items/one", json={"item_id": "two", "title": "x"}), 422, "item_id_mismatch")


def test_good_items_of_a_batch_are_accepted_and_bad_ones_listed(akin, client):
    batch = [{"item_id": "b1", "title": "x"}, {"item_id": "b2"}, 7, {"item_id": "b3", "title": "x", "size": 1}]
    answer = client.post("/v1/items:batch", json={"items": batch})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1
    assert [(e["index"], e["item_id"], e["code"]) for e in answer.json()["errors"]] == [
        (1, "b2", "item_empty"),
        (2, None, "wrong_type"),
        (3, "b3", "unknown_field"),
    ]
    client.delete("/v1/items/b1")
    akin.place_all()


def test_a_batch_without_one_good_item_is_refused(client):
    refused = client.post("/v1/items:batch", json={"items": [{"item_id": "b2"}, None]})
    assert [error["index"] for error in is_problem(refused, 422, "nothing_accepted")["errors"]] == [0, 1]


def test_events_are_taken_one_or_many_and_once_each(akin, client):
    one = {"event_id": "x1", "user_id": "eve", "item_id": "i5", "type": "view"}
    assert client.post("/v1/events", json=one).json() == {"accepted": 1, "duplicates": 0, "errors": []}
    many = client.post("/v1/events", json={"events": [one, {**one, "event_id": "x2"}, {**one, "type": "sneeze"}]})
    assert many.status_code == 202
    assert (many.json()["accepted"], many.json()["duplicates"]) == (2, 1)
    assert [(error["index"], error["code"]) for error in many.json()["errors"]] == [(2, "unknown_event_type")]
    is_problem(client.post("/v1/events", json={"events": [{}]}), 422, "nothing_accepted")
    assert is_problem(client.post("/v1/events", json={"user_id": "eve"}), 422, "item_id_missing")["field"] == "item_id"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_recommendations_by_query_string_and_by_body(client, method):
    options = {"limit": 4, "explain": True, "fields": ["title"], "exclude_ids": ["i6"]}
    path = "/v1/users/ann/recommendations"
    if method == "GET":
        parameters = {**options, "fields": "title", "filter": '{"gte": {"year": 2005}}'}
        answer = client.get(path, params=parameters)
    else:
        answer = client.post(path, json={**options, "filter": {"gte": {"year": 2005}}})
    assert item_ids(answer)[:3] != []
    body = answer.json()
    assert not {"i0", "i3", "i6"} & set(item_ids(answer))
    assert all(int(item_id[1:]) >= 5 for item_id in item_ids(answer))
    assert body["strategy"] == "interests"
    assert body["generation"] == "first"
    for item in body["items"]:
        assert sum(reason["share"] for reason in item["because"]) == pytest.approx(item["score"], abs=1e-5)
        assert set(item["fields"]) == {"title"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_the_largest_reasons_are_told_where_so_many_are_asked_for(client, method):
    path, options = "/v1/users/ann/recommendations", {"reasons": 1, "limit": 3}
    answer = client.get(path, params=options) if method == "GET" else client.post(path, json=options)
    items = answer.json()["items"]
    assert items
    for item in items:
        (reason,) = item["because"]
        assert reason["share"] + item["others"]["share"] == pytest.approx(item["score"], abs=1e-5)
    assert "others" not in client.get(path, params={"explain": "true"}).json()["items"][0]
    following = client.post(answer.json()["next"]).json()["items"][0]
    assert len(following["because"]) == 1, "later pages are asked alike"
    refused = client.get(path, params={"reasons": 0})
    assert (refused.status_code, refused.json()["field"]) == (422, "reasons")


def test_a_post_without_a_body_asks_for_the_defaults(client):
    assert len(item_ids(client.post("/v1/users/ann/recommendations"))) == 10
    assert len(item_ids(client.post("/v1/items/i1/similar"))) == 10


def test_next_pages_repeat_nothing_until_there_are_none(client):
    answer = client.get("/v1/users/nobody/recommendations", params={"limit": 8})
    seen = item_ids(answer)
    while following := answer.json()["next"]:
        answer = client.post(following)
        seen += item_ids(answer)
    assert len(seen) == len(set(seen)) == 20
    is_problem(client.post("/v1/recommendations/unknown/next"), 404, "recommendation_expired")


def test_an_inline_history_needs_no_user(client):
    answer = client.post("/v1/recommendations", json={"history": [{"item_id": "i0"}, {"item_id": "?"}], "limit": 3})
    assert len(item_ids(answer)) == 3
    assert answer.json()["profile"] == {"events": 2, "used": 1, "unknown": 1}
    bad = client.post("/v1/recommendations", json={"history": [{"item_id": "i0", "type": "sneeze"}]})
    assert is_problem(bad, 422, "unknown_event_type")["field"] == "history.0.type"


def test_similar_and_search_by_query_string_and_by_body(client):
    similar = client.get("/v1/items/i1/similar", params={"limit": 3, "user_id": "ann", "user_impact": 0.1})
    assert item_ids(similar) == item_ids(
        client.post("/v1/items/i1/similar", json={"limit": 3, "user_id": "ann", "user_impact": 0.1})
    )
    found = client.get("/v1/search", params={"query": "title 2", "limit": 3, "fields": "categories"})
    assert item_ids(found) == item_ids(client.post("/v1/search", json={"query": "title 2", "limit": 3}))
    assert all(item["fields"] == {"categories": ["c2"]} for item in found.json()["items"])
    is_problem(client.get("/v1/items/none/similar"), 404, "not_found")


@pytest.mark.parametrize("mode", ["semantic", "lexical", "hybrid"])
def test_a_search_in_each_mode_by_query_string_and_by_body(client, mode):
    asked = {"query": "title 2", "mode": mode, "limit": 4, "user_id": "ann", "personalization": 0.5}
    got = client.get("/v1/search", params={**asked, "facets": "categories,year", "facet_limit": 2})
    posted = client.post("/v1/search", json={**asked, "facets": ["categories", "year"], "facet_limit": 2})
    assert item_ids(got) == item_ids(posted)
    assert got.json()["strategy"] == mode
    facets = posted.json()["facets"]
    assert facets == got.json()["facets"]
    assert len(facets["categories"]["values"]) == 2
    assert facets["categories"]["distinct"] == 3
    assert facets["year"]["max"] > facets["year"]["min"] >= 2000
    assert "facets" not in client.post("/v1/search", json=asked).json()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"mode": "psychic"}, "mode"),
        ({"mode": ""}, "mode"),
        ({"personalization": "1.5"}, "personalization"),
        ({"personalization": "nan"}, "personalization"),
        ({"facets": "year,shoe_size"}, "facets"),
        ({"facets": "year", "facet_limit": "0"}, "facet_limit"),
        ({"facets": ",".join(["year"] * 21)}, "facets"),
    ],
)
def test_search_options_that_do_not_fit_are_named(client, options, field):
    answer = client.get("/v1/search", params={"query": "x", **options})
    assert answer.status_code == 422
    assert answer.json()["field"] == field


def test_a_facet_that_is_not_declared_is_named(client):
    answer = client.post("/v1/search", json={"query": "x", "facets": ["year", "shoe_size"]})
    assert "shoe_size" in is_problem(answer, 422, "undeclared_attribute")["detail"]
    long = client.post("/v1/search", json={"query": "x", "facets": ["<b>" * 50]})
    assert "<b>" not in long.text


def test_a_user_is_shown_handed_out_and_erased(akin, client):
    for n in range(2):
        event = {"event_id": f"z{n}", "user_id": "zoë / %", "item_id": f"i{n}", "type": "like"}
        client.post("/v1/events", json=event)
    path = f"/v1/users/{quote('zoë / %', safe='')}"
    assert {event["item_id"] for event in client.get(f"{path}/history").json()["events"]} == {"i0", "i1"}
    assert {one["category"] for one in client.get(f"{path}/profile").json()["interests"]} == {"c0", "c1"}
    answers = [client.get(f"{path}/recommendations?limit={limit}").json() for limit in (2, 3)]
    client.get("/v1/users/somebody-else/recommendations?limit=2")
    akin.log.flush()
    export = client.get(f"{path}/export").json()
    assert len(export["events"]) == 2
    newest = export["recommendations"][0]
    assert [one["recommendation_id"] for one in export["recommendations"]] == [
        answers[1]["recommendation_id"],
        answers[0]["recommendation_id"],
    ]
    assert newest["item_ids"] == [item["item_id"] for item in answers[1]["items"]]
    assert (newest["strategy"], newest["generation"]) == (answers[1]["strategy"], "first")
    assert newest["created_at"]
    receipt = client.delete(path).json()
    assert (receipt["events"], receipt["recommendations"]) == (2, 2)
    assert client.get(f"{path}/export").json() == {"user_id": "zoë / %", "events": [], "recommendations": []}
    late = {"event_id": "late", "user_id": "zoë / %", "item_id": "i0", "type": "like"}
    is_problem(client.post("/v1/events", json=late), 422, "user_deleted")


def test_generations_are_begun_listed_and_activated(tmp_path):
    with installation(tmp_path) as akin, TestClient(create_app(akin.services())) as client:
        akin.add_items([Item(item_id="i0", title="x")])
        begun = client.post("/v1/generations")
        assert (begun.status_code, begun.json()["name"]) == (202, "next")
        activated = client.post("/v1/generations/next:activate").json()
        assert (activated["state"], activated["placed"]) == ("live", 1)
        listed = client.get("/v1/generations").json()["generations"]
        assert {one["name"]: one["state"] for one in listed} == {"next": "live", "first": "retired"}
        assert client.get("/v1/users/x/recommendations").json()["generation"] == "next"
        is_problem(client.post("/v1/generations/none:activate"), 404, "not_found")


def test_a_smaller_limit_of_the_settings_lowers_what_is_usual(tmp_path):
    scenarios = {"home": {"diversity": 0.1}}
    with (
        installation(tmp_path, max_limit=5, scenarios=scenarios) as akin,
        TestClient(create_app(akin.services())) as client,
    ):
        akin.add_items([Item(item_id=f"i{n}", title="a sea story") for n in range(8)])
        check_scenarios(akin.settings)
        assert len(item_ids(client.get("/v1/users/ann/recommendations"))) == 5
        assert len(item_ids(client.get("/v1/users/ann/recommendations?scenario=home"))) == 5
        assert len(item_ids(client.post("/v1/recommendations", json={"history": [{"item_id": "i1"}]}))) == 5
        assert len(item_ids(client.get("/v1/items/i1/similar"))) == 5
        assert len(item_ids(client.post("/v1/items/i1/similar"))) == 5
        assert len(item_ids(client.get("/v1/search?query=sea"))) == 5
        is_problem(client.get("/v1/search?query=sea&limit=6"), 422, "invalid_limit")


def test_what_was_set_aside_or_refused_is_listed(client):
    assert client.get("/v1/set-aside").json() == {"items": []}
    assert client.post("/v1/set-aside:retry").json() == {"retried": 0}
    assert client.post("/v1/set-aside:retry", json={"item_ids": ["i1"]}).json() == {"retried": 0}
    assert client.get("/v1/rejects").json() == {"rejects": []}
    is_problem(client.get("/v1/jobs/none"), 404, "not_found")


class LedgerAway:
    """A ledger that answers everything but whether it is there."""

    def __init__(self, ledger):
        self._ledger = ledger

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def ping(self):
        raise UnavailableError("secret host name")


def test_health_and_readiness(akin, client):
    assert client.get("/healthz").json() == {"status": "ok"}
    checks = {"ledger": "ok", "index": "ok", "encoder": "ok", "queue": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "checks": checks}

    with TestClient(create_app(akin.services(ledger=LedgerAway(akin.ledger)))) as limping:
        answer = limping.get("/readyz")
    body = is_problem(answer, 503, "not_ready")
    assert body["failed"] == ["ledger"]
    assert "secret" not in answer.text


def test_an_api_without_its_index_names_that_alone_and_logs_what_it_waits_for(tmp_path, caplog):
    # given an API whose index is not there when it starts
    with installation(tmp_path) as akin, caplog.at_level(logging.INFO):
        akin.index.drop("first")
        with TestClient(create_app(akin.services())) as client:
            answer = client.get("/readyz")
            body = is_problem(answer, 503, "not_ready")
            assert soon(lambda: "not ready; waiting" in caplog.text)

            # when it comes
            akin.index.create("first", CollectionSpec(dimensions=16, attributes=akin.settings.attributes))
            assert soon(lambda: client.get("/readyz").status_code == 200)
            assert soon(lambda: "ready" in [record.getMessage() for record in caplog.records])

    # then the one thing that was missing was named, and each was said once
    assert body["failed"] == ["index"]
    assert body["detail"].startswith("index cannot be used now")
    assert [record.getMessage() for record in caplog.records].count("not ready; waiting") == 1


class BrokerAway(NoQueue):
    def ping(self):
        raise UnavailableError("secret host name")


class BrokerThere(NoQueue):
    def wake(self, item_ids):
        return True


def test_without_its_broker_an_installation_is_degraded_and_still_ready(akin):
    with TestClient(create_app(akin.services(queue=BrokerAway()))) as client:
        answer = client.get("/readyz")
        written = client.put("/v1/items/new", json={"title": "a title"})
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"] == {"ledger": "ok", "index": "ok", "encoder": "ok", "queue": "unavailable"}
    assert written.status_code == 202
    assert written.headers["x-queue"] == "delayed"


class ChangedAfterReading:
    """An installation's items, which others change after each time one is read, as often as they have changes left."""

    def __init__(self, items, changes):
        self._items = items
        self._changes = changes

    def get(self, item_id):
        found = self._items.get(item_id)
        for change in islice(self._changes, 1):
            change()
        return found

    def __getattr__(self, name):
        return getattr(self._items, name)


def patched_while(akin, *changes, patch):
    """The answer to a patch of the item "moving", and the item then."""
    with open_ledger(akin.settings.ledger_url) as ledger:
        ledger.items = ChangedAfterReading(akin.ledger.items, iter(changes))
        with TestClient(create_app(akin.services(ledger=ledger))) as client:
            answer = client.patch("/v1/items/moving", json=patch)
    akin.place_all()
    return answer, akin.ledger.items.get("moving")


def test_a_patch_is_merged_with_what_another_process_wrote_meanwhile(akin):
    akin.add_items([Item(item_id="moving", title="old", text="old")])
    change = partial(akin.add_items, [Item(item_id="moving", title="old", text="newer")])

    answer, stored = patched_while(akin, change, patch={"title": "patched"})

    assert answer.status_code == 202
    assert (stored.item.title, stored.item.text) == ("patched", "newer")


def test_a_patch_does_not_bring_back_what_was_deleted_meanwhile(akin):
    akin.add_items([Item(item_id="moving", title="old", version=100)])

    answer, stored = patched_while(akin, partial(akin.delete_items, ["moving"]), patch={"title": "patched"})

    is_problem(answer, 404, "not_found")
    assert stored.deleted_at is not None


def test_a_patch_gives_up_where_others_change_the_item_all_the_time(akin):
    akin.add_items([Item(item_id="moving", title="old", version=200)])
    changes = [partial(akin.add_items, [Item(item_id="moving", title="old", text=f"{n}")]) for n in range(50)]

    answer, stored = patched_while(akin, *changes, patch={"title": "patched"})

    assert "once more" in is_problem(answer, 409, "item_moved")["detail"]
    assert stored.item.title == "old"


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_what_a_worker_was_told_of_is_not_called_delayed(akin, method):
    with TestClient(create_app(akin.services(queue=BrokerThere()))) as client:
        client.put("/v1/items/new", json={"title": "a title"})
        more = {} if method == "delete" else {"json": {"title": "another"}}
        answer = client.request(method, "/v1/items/new", **more)
    assert answer.status_code == 202
    assert "x-queue" not in answer.headers


def test_an_installation_without_a_live_generation_is_unavailable(tmp_path):
    with installation(tmp_path, live=False) as akin, TestClient(create_app(akin.services())) as client:
        answer = client.get("/v1/users/ann/recommendations")
        assert "reindex" in is_problem(answer, 503, "unavailable")["detail"]
        assert answer.headers["retry-after"]


def test_unknown_paths_and_methods_are_problems_too(client):
    is_problem(client.get("/v2/items"), 404, "not_found")
    assert is_problem(client.delete("/v1/search"), 405, "method_not_allowed")


def test_every_answer_bears_security_headers_and_a_request_id(client):
    answer = client.get("/healthz", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", headers={"x-request-id": "not mine\t"}).headers["x-request-id"] != "not mine\t"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_description_names_every_route_and_resolves(client):
    described = client.get("/openapi.json").json()
    for path in ("/v1/items/{item_id}", "/v1/items:batch", "/v1/users/{user_id}/recommendations", "/v1/search"):
        assert path in described["paths"]
    good = [
        operation["responses"][status]
        for path, operations in described["paths"].items()
        if path != "/metrics"  # which is no JSON
        for operation in operations.values()
        for status in ("200", "202")
        if status in operation["responses"]
    ]
    assert all("$ref" in one["content"]["application/json"]["schema"] for one in good)
    schemas = described["components"]["schemas"]
    assert all(name in schemas for name in references(described))
    assert client.get("/docs").status_code == 200


def references(part):
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value.rsplit("/", 1)[1]
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_small_products_are_made_on_one_thread_while_the_api_answers(akin):
    with TestClient(create_app(akin.services())) as answering:
        assert answering.get("/healthz").status_code == 200
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


@pytest.mark.parametrize("path", ["/v1/users/ann/recommendations", "/v1/items/i1/similar", "/v1/search"])
def test_an_unknown_parameter_is_named(client, path):
    refused = client.get(path, params={"query": "title", "lmit": 3} if "search" in path else {"lmit": 3})
    problem = is_problem(refused, 422, "invalid_request")
    assert problem["field"] == "lmit"
    assert "no such field" in problem["detail"]


def test_an_unknown_parameter_whose_name_is_not_to_be_repeated_is_said_to_be_in_the_query(client):
    refused = client.get("/v1/search", params={"query": "title", "<b>": 3})
    assert is_problem(refused, 422, "invalid_request")["field"] == "query"


def test_repeated_names_of_a_list_are_all_taken(client):
    answer = client.get("/v1/items/i1/similar?fields=title&fields=categories,attributes&limit=1")
    assert set(answer.json()["items"][0]["fields"]) == {"title", "categories", "attributes"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/items/i1", "GET, PUT, PATCH, DELETE"),
        ("PUT", "/v1/search", "GET, POST"),
        ("GET", "/v1/items:batch", "POST"),
        ("POST", "/console/app.js", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_told_those_it_takes(client, method, path, allowed):
    refused = client.request(method, path, json={})
    assert allowed in is_problem(refused, 405, "method_not_allowed")["detail"]
    assert refused.headers["allow"] == allowed


def test_a_path_that_is_not_there_points_to_the_description(client):
    assert "/docs" in is_problem(client.get("/v2/anything"), 404, "not_found")["detail"]
