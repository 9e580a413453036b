"""Keys over HTTP: every protected route refuses without one, and with one that does not allow it."""

import logging
import re

import pytest
from starlette.testclient import TestClient

from ingest.errors import UnavailableError
from ingest.events import Event
from ingest.items import Item
from ingest.keys import Scope
from serving.api.access import SCOPES, is_open, scope_of
from serving.api.app import create_app
from serving.api.describe import description
from tests.fakes import installation

DESCRIBED = description()["paths"]
CALLS = [(method.upper(), path) for path, methods in DESCRIBED.items() for method in methods]
PROTECTED = [call for call in CALLS if not is_open(call[1])]
LOCAL_KEY = "the key of this machine's commands"


@pytest.fixture(scope="module")
def akin(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("access")) as made:
        made.add_items([Item(item_id="i", title="a title")])
        made.add_events([Event(event_id="e", user_id="ann", item_id="i", type="like")])
        yield made


@pytest.fixture(scope="module")
def secrets(akin):
    return {scope: akin.ledger.keys.create(f"for {scope}", [scope])[1] for scope in Scope}


@pytest.fixture(scope="module")
def client(akin, secrets):
    with TestClient(create_app(akin.services(local_key=LOCAL_KEY)), raise_server_exceptions=False) as made:
        yield made


def ask(client, method, path, key=None, **more):
    url = re.sub(r"\{\w+\}", "i", path)
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
    if method in {"POST", "PUT", "PATCH"}:
        more.setdefault("json", {})
    return client.request(method, url, headers=headers, **more)


def test_routes_are_found_at_all():
    assert len(PROTECTED) > 25
    assert ("DELETE", "/v1/users/{user_id}") in PROTECTED


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_route_has_a_scope_that_somebody_chose(method, path):
    assert f"{method} {path.removeprefix('/v1')}" in SCOPES


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize("key", [None, "", "akin_0123_wrong", "Zm9v", "akin_é"], ids=repr)
def test_every_protected_route_refuses_without_a_key_that_is_known(client, method, path, key):
    answer = ask(client, method, path, key)

    assert answer.status_code == 401
    assert answer.json()["code"] in {"key_required", "key_unknown"}
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "wrong" not in answer.text


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_route_refuses_a_key_without_its_scope_and_takes_one_with_it(client, secrets, method, path):
    needed = scope_of(method, path.removeprefix("/v1"))
    for scope, secret in secrets.items():
        if scope in (needed, Scope.ADMIN):
            continue
        refused = ask(client, method, path, secret)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        assert refused.json()["scope"] == needed
    if method != "DELETE":  # what is erased would be missed by the other tests
        assert ask(client, method, path, secrets[needed]).status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_the_description_says_what_each_route_needs(method, path):
    operation = DESCRIBED[path][method.lower()]

    assert operation["security"] == [{"key": [scope_of(method, path.removeprefix("/v1"))]}]


def test_a_route_that_nobody_listed_needs_admin():
    assert scope_of("GET", "/something/new") is Scope.ADMIN


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/console/main.js"])
def test_pages_and_probes_need_no_key(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/nothing", "/V1/users", "//v1/users", "/v1//users", "/console/../v1/users", "/docs/../v1/users"],
)
def test_paths_beside_the_routes_give_nothing_away(client, path):
    assert client.get(path).status_code in {401, 404}


def test_head_and_other_methods_do_not_get_around_it(client, secrets):
    assert client.head("/v1/users").status_code == 401
    assert client.request("OPTIONS", "/v1/users").status_code == 401
    assert client.request("BREW", "/v1/users").status_code == 401


def test_the_scheme_is_read_in_any_case_and_other_schemes_are_not(client, secrets):
    secret = secrets[Scope.QUERY]

    assert client.get("/v1/overview", headers={"Authorization": f"bearer {secret}"}).status_code == 200
    assert client.get("/v1/overview", headers={"Authorization": f"Basic {secret}"}).status_code == 401
    assert client.get(f"/v1/overview?key={secret}").status_code == 401


def test_a_body_is_not_read_before_the_key(client):
    answer = client.post("/v1/items:batch", content=b"[" * 2_000_000, headers={"Content-Type": "application/json"})

    assert answer.status_code == 401


def test_this_machines_commands_may_do_everything(client):
    assert ask(client, "GET", "/v1/rejects", LOCAL_KEY).status_code == 200


def test_a_key_that_is_revoked_stops_working(akin):
    made, secret = akin.ledger.keys.create("lost", [Scope.QUERY])
    services = akin.services()
    with TestClient(create_app(services)) as client:
        assert ask(client, "GET", "/v1/overview", secret).status_code == 200
        akin.ledger.keys.revoke(made.key_id)
        services.keyring.refresh()
        assert ask(client, "GET", "/v1/overview", secret).json()["code"] == "key_unknown"


def test_without_any_key_a_loopback_address_is_open_and_a_public_one_is_not(tmp_path):
    with installation(tmp_path / "local") as akin, TestClient(create_app(akin.services())) as client:
        assert client.get("/v1/overview").status_code == 200
    with installation(tmp_path / "public", host="192.0.2.1") as akin, TestClient(create_app(akin.services())) as client:
        assert client.get("/v1/overview").status_code == 401


def test_too_many_requests_are_told_when_to_come_back(tmp_path):
    with installation(tmp_path / "busy", rate_limit="5/minute") as akin:
        _, secret = akin.ledger.keys.create("eager", [Scope.QUERY])
        _, other = akin.ledger.keys.create("patient", [Scope.QUERY])
        with TestClient(create_app(akin.services(local_key=LOCAL_KEY))) as client:
            statuses = [ask(client, "GET", "/v1/overview", secret).status_code for _ in range(8)]
            refused = ask(client, "GET", "/v1/overview", secret)
            assert statuses == [200] * 5 + [429] * 3
            assert refused.json()["code"] == "rate_limited"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert ask(client, "GET", "/v1/overview", other).status_code == 200
            assert {ask(client, "GET", "/v1/overview", LOCAL_KEY).status_code for _ in range(8)} == {200}
            assert client.get("/healthz").status_code == 200


def test_what_is_refused_is_logged_by_the_route_that_was_asked(tmp_path, caplog):
    # given a key that may ask once
    with installation(tmp_path / "busy", rate_limit="1/minute") as akin, caplog.at_level(logging.INFO):
        _, secret = akin.ledger.keys.create("eager", [Scope.QUERY])
        with TestClient(create_app(akin.services())) as client:
            # when requests are refused for want of a key, and for being too many
            for path in ("/v1/items/secret-id", "/v1/items/secret-id/similar", "/v1/made-up/secret-id", "/metrics"):
                ask(client, "GET", path)
            ask(client, "POST", "/v1/users/secret-id/recommendations", secret)
            ask(client, "POST", "/v1/users/secret-id/recommendations", secret)

    # then each names the template of its route, and no id
    refused = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert [(one["route"], one["status"]) for one in refused] == [
        ("/v1/items/{item_id}", 401),
        ("/v1/items/{item_id}/similar", 401),
        ("unknown", 401),
        ("/metrics", 401),
        ("/v1/users/{user_id}/recommendations", 429),
    ]


class Away:
    """A ledger that does not answer."""

    @property
    def keys(self):
        raise UnavailableError("the ledger does not answer")


def test_keys_that_cannot_be_read_are_a_503(akin):
    with TestClient(create_app(akin.services(ledger=Away()))) as client:
        answer = client.get("/v1/overview")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
