"""The typed client against a real API, and against a server that is away or busy."""

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner

import akin as program
from ingest.errors import InvalidInputError, NotFoundError, SettingsError, UnavailableError
from serving.api.app import create_app
from serving.api.schemas import RecommendationsAnswer
from serving.client import Akin, AsyncAkin
from serving.client.refusals import NotAllowedError, RefusedError
from serving.client.retries import Retries
from tests.fakes import installation

QUICK = Retries(first_seconds=0.001, longest_seconds=0.001)


@pytest.fixture(scope="module")
def akin(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("client")) as made:
        yield made


@pytest.fixture(scope="module")
def url(akin):
    server = uvicorn.Server(uvicorn.Config(create_app(akin.services()), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(url):
    with Akin(url, retries=QUICK) as made:
        yield made


def test_items_are_put_found_recommended_and_deleted(akin, client):
    accepted = client.put_items(
        [{"item_id": f"a/{n}", "title": f"sea story {n}", "categories": ["sea"]} for n in range(5)]
    )
    akin.place_all()
    assert client.wait(accepted.job_id).placed == 5
    assert client.item("a/1").categories == ["sea"]
    client.patch_item("a/1", title="sea story one")
    assert client.item("a/1").title == "sea story one"
    assert client.add_events([{"event_id": "1", "user_id": "ann", "item_id": "a/1", "type": "like"}]).accepted == 1
    first = client.recommend("ann", limit=2, explain=True, fields=["title"])
    assert len(first.items) == 2
    assert {item.item_id for item in first.items}.isdisjoint(item.item_id for item in client.next_page(first).items)
    assert client.recommend_for([{"item_id": "a/2"}], limit=1).items
    assert client.similar("a/1", limit=1).items
    assert client.search("sea", limit=1).items
    assert client.history("ann").events[0].item_id == "a/1"
    assert client.erase("ann").events == 1
    assert client.export("ann").events == []
    client.delete_item("a/1")
    with pytest.raises(NotFoundError):
        client.item("a/1")
    assert [one.state for one in client.generations().generations] == ["live"]


@pytest.mark.parametrize("key", ["", "ké", "a key\n", "a b", "\ud800"])
@pytest.mark.parametrize("kind", [Akin, AsyncAkin])
def test_a_key_that_can_be_none_is_refused_before_anybody_is_asked(kind, key):
    with pytest.raises(SettingsError, match="the API key"):
        kind("http://127.0.0.1:1", key=key)


def test_a_key_that_can_be_none_is_one_sentence_on_the_command_line(url):
    for arguments, variables in ((["--key", ""], {}), ([], {"AKIN_KEY": "schlüssel"})):
        said = CliRunner().invoke(program.app, ["--url", url, *arguments, "search", "sea"], env=variables)
        assert isinstance(said.exception, SettingsError)
        assert "the API key" in str(said.exception)


@pytest.mark.parametrize(
    ("call", "given", "code"),
    [
        ("put_items", {"item_id": "a"}, "not_a_list"),
        ("put_items", "a", "not_a_list"),
        ("put_items", None, "not_a_list"),
        ("put_items", [1], "not_an_object"),
        ("add_events", {"user_id": "ann", "item_id": "a", "type": "like"}, "not_a_list"),
        ("add_events", [["user_id", "ann"]], "not_an_object"),
        ("recommend_for", {"item_id": "a"}, "not_a_list"),
    ],
)
def test_what_is_no_list_of_objects_is_refused_with_a_sentence(client, call, given, code):
    with pytest.raises(InvalidInputError, match="must be") as refused:
        getattr(client, call)(given)

    assert refused.value.code == code


def test_the_page_about_the_client_imports_what_is_there():
    page = (Path(__file__).resolve().parents[2] / "docs/how-to/client.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith(("from ", "import "))]

    assert len(lines) == 4
    for line in lines:
        exec(line, {})
    named = set(re.findall(r"\b[A-Z][A-Za-z]+(?:Error|Akin)\b|\bRetries\b", page))
    assert named <= set(re.findall(r"\w+", " ".join(lines)))


@pytest.mark.parametrize("id_", ["..", ".", "a/../b", "a b?#%41é", "a:activate", "a/similar", "a/history", "/a/"])
def test_any_id_can_be_reached_and_erased(akin, client, id_):
    client.put_items([{"item_id": id_, "title": "an odd one"}])
    akin.place_all()
    client.add_events([{"event_id": f"odd {id_}", "user_id": id_, "item_id": id_, "type": "like"}])

    assert client.item(id_).item_id == id_
    assert client.similar(id_, limit=1).generation
    assert client.erase(id_).events == 1
    client.delete_item(id_)
    with pytest.raises(NotFoundError):
        client.item(id_)


def test_a_refusal_is_the_error_akin_raises_and_names_the_field(client):
    with pytest.raises(InvalidInputError) as refused:
        client.recommend("ann", strategy="magic")
    assert refused.value.field == "strategy"


def test_a_refused_batch_says_why_for_each_part(client):
    with pytest.raises(RefusedError) as refused:
        client.add_events([{"user_id": "ann", "item_id": "a/2", "type": "nope"}])
    assert [one["code"] for one in refused.value.errors] == ["unknown_event_type"]


def test_the_same_is_awaited(url):
    async def ask():
        async with AsyncAkin(url, retries=QUICK) as client:
            await client.put_item("async", title="awaited")
            with pytest.raises(NotFoundError):
                await client.item("nothing")
            return await client.item("async")

    assert asyncio.run(ask()).title == "awaited"


def test_both_clients_have_the_same_calls():
    def calls(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert calls(Akin) == calls(AsyncAkin)


def command(*arguments):
    """A command in this process."""
    return CliRunner().invoke(program.app, arguments)


def test_the_command_line_asks_where_url_says(akin, client, url):
    client.put_items([{"item_id": "far", "title": "a far lighthouse"}])
    akin.place_all()
    found = command("--url", url, "search", "lighthouse", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["items"][0]["item_id"] == "far"


def test_a_refusal_elsewhere_is_the_same_error_as_here(url):
    failed = command("--url", url, "recommend", "ann", "--strategy", "magic").exception
    assert isinstance(failed, InvalidInputError)
    assert failed.field == "strategy"


def test_commands_that_work_on_this_machine_refuse_a_url(url, tmp_path):
    refused = command("--url", url, "ingest", "items", str(tmp_path / "items.csv")).exception
    assert isinstance(refused, SettingsError)
    assert "--url" in str(refused)


def test_a_key_goes_with_every_call():
    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        there = f"http://127.0.0.1:{server.server_port}"
        with Akin(there, key="secret") as client, pytest.raises(NotFoundError):
            client.item("x")
        with Akin(there) as client, pytest.raises(NotAllowedError):
            client.item("x")
        assert isinstance(command("--url", there, "--key", "secret", "generations").exception, NotFoundError)
        server.shutdown()
        thread.join()


class Guarded(BaseHTTPRequestHandler):
    """Knows nothing, and says even that only to who has the key."""

    def do_GET(self):
        self.send_response(404 if self.headers["authorization"] == "Bearer secret" else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_a_server_that_is_away_is_an_unavailable_error():
    with Akin("http://127.0.0.1:9", retries=QUICK) as client, pytest.raises(UnavailableError):
        client.item("x")


class Busy(BaseHTTPRequestHandler):
    """Answers 503 twice, then that it knows nothing."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        status = 503 if type(self).asked <= 2 else 404
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the name is the base class's

    def log_message(self, *arguments):
        pass


@pytest.fixture
def busy():
    Busy.asked = 0
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Akin(f"http://127.0.0.1:{server.server_port}", retries=QUICK) as client:
            yield client
        server.shutdown()
        thread.join()


def test_a_busy_server_is_asked_again(busy):
    with pytest.raises(NotFoundError):
        busy.item("x")
    assert Busy.asked == 3


def test_what_would_count_twice_is_not_repeated(busy):
    with pytest.raises(UnavailableError):
        busy.add_events([{"user_id": "ann", "item_id": "x", "type": "like"}])
    assert Busy.asked == 1


def test_a_next_page_is_asked_again(busy):
    answer = RecommendationsAnswer(
        recommendation_id="a" * 32,
        items=[],
        generation="g",
        strategy="blend",
        profile={"events": 0, "used": 0, "unknown": 0},
        next="/v1/recommendations/a/next",
    )
    with pytest.raises(NotFoundError):
        busy.next_page(answer)
    assert Busy.asked == 3


def test_an_answer_without_a_next_page_says_so(akin, client):
    client.put_item("alone", title="an island")
    akin.place_all()
    for answer in (client.similar("alone"), client.search("island"), client.recommend("nobody", limit=200)):
        assert answer.next is None
        with pytest.raises(NotFoundError, match="no next page") as refused:
            client.next_page(answer)
        assert refused.value.code == "no_next_page"


@pytest.mark.parametrize("id_", ["", "  ", "a\nb", "\ud800", "x" * 257])
def test_an_id_that_the_server_would_refuse_is_named(client, id_):
    for call, field in ((client.recommend, "user_id"), (client.similar, "item_id"), (client.job, "job_id")):
        with pytest.raises(InvalidInputError) as refused:
            call(id_)
        assert refused.value.field == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"exclude_ids": {"a"}}, "exclude_ids"),
        ({"scenario": "\ud800"}, "scenario"),
        ({"min_score": float("nan")}, "min_score"),
        ({"filter": {"and": [{"gte": {"year": float("inf")}}]}}, "filter"),
        ({"filter": {1: 2}}, "filter"),
    ],
)
def test_what_cannot_be_sent_as_it_is_meant_is_named(client, options, field):
    with pytest.raises(InvalidInputError) as refused:
        client.recommend("ann", **options)
    assert refused.value.field == field


def test_what_is_null_on_purpose_is_sent(client):
    assert client.recommend("ann", min_score=None, filter=None).generation


def test_half_of_a_character_on_the_command_line_is_named(url):
    failed = command("--url", url, "search", "sea \udcff").exception
    assert isinstance(failed, InvalidInputError)
    assert failed.field == "query"


@pytest.mark.parametrize("kind", [Akin, AsyncAkin])
def test_an_address_without_its_scheme_is_refused_at_once(kind):
    with pytest.raises(SettingsError, match="http://"):
        kind("akin.example.org")
