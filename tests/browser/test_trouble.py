"""What the console says when the server is away, the queue stands still, the index is gone or a key is missing."""

import re
import shutil

import pytest
from sqlalchemy import update

from ingest.items import Item
from ingest.settings import Settings
from ingest.store.ledger import open_ledger
from ingest.store.tables import generations, pending
from ingest.submit import submit_items
from tests.browser.conftest import playwright
from tests.browser.test_console import opened
from tests.fakes import NoQueue

expect = playwright.expect
pytestmark = pytest.mark.slow


def test_a_stopped_server_is_named_and_the_page_recovers_by_itself(akin, seen):
    page = opened(seen, akin, "operations")
    expect(page.locator("#banner")).to_be_hidden()
    akin.stop()
    try:
        expect(page.locator("#banner")).to_contain_text("does not answer", timeout=20_000)
        seen.shot("stopped")
    finally:
        akin.start()
    expect(page.locator("#banner")).to_be_hidden(timeout=20_000)
    expect(page.locator("td.good", has_text="live")).to_be_visible()


def test_an_index_that_is_gone_is_named_and_the_page_recovers_by_itself(akin, seen):
    page = opened(seen, akin, "explore/a lighthouse keeper")
    expect(page.locator("ol.items > li").first).to_be_visible()
    with open_ledger(Settings(home=akin.home).ledger_url) as ledger:
        there = ledger.generations.live().name
        rename(ledger, there, "gone")  # the ledger now names an index that is in no folder
        try:
            expect(page.locator("#banner")).to_contain_text("Queries cannot be answered", timeout=20_000)
            expect(page.locator("#banner")).to_contain_text("gone")
            seen.shot("no-index")
        finally:
            rename(ledger, "gone", there)
    expect(page.locator("#banner")).to_be_hidden(timeout=20_000)
    expect(page.locator("ol.items > li").first).to_be_visible()  # the same search, without anybody's help


def rename(ledger, before, after):
    with ledger.generations._database.write() as connection:
        connection.execute(update(generations).where(generations.c.name == before).values(name=after))


def test_a_server_that_lost_its_index_builds_it_again_and_the_page_goes_on(akin, seen):
    page = opened(seen, akin, "explore/a lighthouse keeper")
    akin.stop()
    shutil.rmtree(akin.home / "index")
    akin.start()
    expect(page.locator("#banner")).to_be_hidden(timeout=20_000)
    page.get_by_label("What are you looking for?").fill("a lighthouse")
    expect(page.locator("ol.items > li").first).to_be_visible()


def test_a_queue_that_stands_still_is_named_and_the_page_recovers_when_it_moves(akin, seen):
    settings = Settings(home=akin.home, min_free_bytes=0)
    with open_ledger(settings.ledger_url) as ledger:
        # A worker that took an item ten minutes ago, for an hour, and was never heard of again.
        submit_items(ledger, NoQueue(), settings, [Item(item_id="held", title="Held")])
        ledger.pending.claim(["held"], lease="gone", seconds=3600)
        with ledger.pending._database.write() as connection:
            older = pending.c.created_at - 600_000_000
            connection.execute(update(pending).where(pending.c.item_id == "held").values(created_at=older))
        seen.page.clock.install()
        page = opened(seen, akin, "operations")
        expect(page.locator("#banner")).to_be_hidden()  # it may only just have begun
        for _ in range(10):
            page.clock.run_for(5_000)
            page.wait_for_timeout(100)
        expect(page.locator("#banner")).to_contain_text("Nothing is being placed: 1 items wait, the oldest for 10 min")
        seen.shot("stalled")
        ledger.pending.release("gone", due_in=0, forgive=True)
    for _ in range(40):
        page.clock.run_for(1_000)
        page.wait_for_timeout(100)
    expect(page.locator("#banner")).to_be_hidden()


def test_an_answer_of_401_asks_for_a_key_which_then_goes_with_every_question(akin, seen):
    sent = []

    def guard(route):
        sent.append(route.request.headers.get("authorization"))
        if sent[-1] == "Bearer good-key":
            return route.continue_()
        problem = {"status": 401, "code": "key_required", "detail": "send an API key"}
        return route.fulfill(status=401, json=problem, content_type="application/problem+json")

    seen.page.route("**/v1/**", guard)
    page = opened(seen, akin, "operations")
    expect(page.locator("dialog")).to_be_visible()
    expect(page.locator("#banner")).to_contain_text("A key is needed")
    seen.shot("key")
    page.get_by_role("textbox", name="API key").fill("good-key")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("td.good", has_text="live")).to_be_visible()
    expect(page.locator("#banner")).to_be_hidden()
    assert page.evaluate("sessionStorage.getItem('akin.key')") == "good-key"
    assert page.evaluate("localStorage.getItem('akin.key')") is None
    assert sent[0] is None
    assert sent[-1] == "Bearer good-key"


@pytest.mark.parametrize("page", ["operations", "people/reader-01"])
def test_what_a_key_does_not_allow_is_not_offered(akin, seen, page):
    def reading(route):
        answer = route.fetch()
        return route.fulfill(json={**answer.json(), "scopes": ["query"]})

    asked = []
    seen.page.route("**/v1/overview", reading)
    seen.page.on("request", lambda request: asked.append(request.url))
    shown = opened(seen, akin, page)
    for name in ("Reindex now", "Roll back to this one", "Make live", "Try all again", "Add", "Like"):
        expect(shown.get_by_role("button", name=name)).to_have_count(0)
    expect(shown.locator("main")).to_contain_text("scope admin")
    asked.clear()
    shown.wait_for_timeout(4_500)
    assert not [url for url in asked if re.search(r"set-aside|rejects|history|profile|/users\?", url)]
    seen.shot(f"{page.split('/', maxsplit=1)[0]}-reader")


def test_a_refusal_while_one_looks_is_a_sentence(akin, seen):
    refusal = {"status": 403, "code": "scope_missing", "detail": "no", "scope": "admin"}
    seen.page.route("**/v1/set-aside*", lambda route: route.fulfill(status=403, json=refusal))
    page = opened(seen, akin, "operations")
    expect(page.locator(".problem")).to_have_text("The key does not allow this; one with the scope admin does.")
