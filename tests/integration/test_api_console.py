"""What the console asks of the server, and the page itself."""

import threading

import pytest
from starlette.testclient import TestClient

from ingest.events import Event
from ingest.items import Item
from serving.api.app import create_app
from tests.fakes import HashingEncoder, installation


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items(
            [Item(item_id=f"i{n}", title=f"title {n} about {n % 3}", categories=(f"c{n % 3}",)) for n in range(12)]
        )
        made.add_events(
            [
                Event(event_id=f"{user}{n}", user_id=user, item_id=f"i{n}", type="like")
                for user in ("ann", "ann%")
                for n in (0, 1)
            ]
        )
        yield made


@pytest.fixture
def client(akin):
    with TestClient(create_app(akin.services())) as made:
        yield made


def test_a_server_that_starts_prepares_what_the_first_visitor_would_wait_for(akin, monkeypatch):
    embedded = threading.Event()
    whole = HashingEncoder.embed
    monkeypatch.setattr(HashingEncoder, "embed", lambda self, texts: embedded.set() or whole(self, texts))
    services = akin.services()
    with TestClient(create_app(services)):
        assert embedded.wait(10)
    monkeypatch.setattr(services.live.current().collection, "vectors", None)
    assert services.cartographer.draw().items == 12  # without asking the index for a vector


def test_a_glance_has_the_map_of_a_new_generation_drawn(akin, monkeypatch):
    services = akin.services()
    with TestClient(create_app(services)) as client:
        akin.begin_next("next", HashingEncoder())
        akin.go_live("next")
        services.live.refresh()
        client.get("/v1/overview")
        monkeypatch.setattr(services.live.current().collection, "vectors", None)
        drawn = client.get("/v1/map").json()
    assert (drawn["generation"], drawn["items"]) == ("next", 12)


def test_a_server_starts_where_nothing_is_live_yet(tmp_path):
    with installation(tmp_path, live=False) as made, TestClient(create_app(made.services())) as client:
        assert client.get("/v1/map").status_code == 503


def test_the_page_and_its_files_come_from_the_package_under_a_strict_policy(client):
    for path, kind in [("/", "text/html"), ("/console/main.js", "javascript"), ("/console/style.css", "text/css")]:
        answer = client.get(path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


@pytest.mark.parametrize("path", ["/console/../app.py", "/console/%2e%2e/overview.py", "/console/nothing.js"])
def test_nothing_but_those_files_is_handed_out(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_overview_counts_what_is_placed_and_what_waits(akin, client):
    seen = client.get("/v1/overview").json()
    assert (seen["items"], seen["placed"], seen["pending"], seen["events"]) == (12, 12, 0, 4)
    assert (seen["generation"], seen["trouble"], seen["oldest_pending_seconds"]) == ("first", None, None)
    assert seen["attributes"]["year"] == "integer"


def test_an_index_that_is_missing_is_a_sentence_and_no_error(akin, client):
    akin.index.close("first")
    akin.index.drop("first")
    seen = client.get("/v1/overview").json()
    assert "first" in seen["trouble"]
    assert seen["items"] == 12


def test_users_are_found_by_how_their_id_begins(client):
    assert client.get("/v1/users").json() == {
        "users": [{"user_id": "ann", "events": 2}, {"user_id": "ann%", "events": 2}]
    }
    assert [user["user_id"] for user in client.get("/v1/users", params={"prefix": "ann%"}).json()["users"]] == ["ann%"]
    assert client.get("/v1/users", params={"prefix": "bob"}).json() == {"users": []}
    assert client.get("/v1/users", params={"limit": 101}).status_code == 422


def test_every_item_has_its_place_on_the_map_and_a_new_one_gets_one(akin, client):
    drawn = client.get("/v1/map").json()
    assert drawn["items"] == 12
    assert {place["item_id"] for place in drawn["places"]} == {f"i{n}" for n in range(12)}
    assert all(-1 <= place["x"] <= 1 and -1 <= place["y"] <= 1 for place in drawn["places"])
    akin.add_items([Item(item_id="new", title="entirely new")])
    assert "new" in {place["item_id"] for place in client.get("/v1/map").json()["places"]}


def test_a_map_of_nothing_is_empty(tmp_path):
    with installation(tmp_path) as made, TestClient(create_app(made.services())) as client:
        assert client.get("/v1/map").json()["places"] == []


def test_the_last_evaluation_is_shown_and_its_absence_says_what_to_run(akin, client):
    missing = client.get("/v1/evaluation")
    assert (missing.status_code, "akin evaluate" in missing.json()["detail"]) == (404, True)
    akin.settings.evaluation_report.write_text('{"strategies": {}}')
    assert client.get("/v1/evaluation").json() == {"strategies": {}}
