"""The console in a real browser, over a real akin: every page, one journey, and what happens when things fail."""

import re

import pytest

from tests.browser.conftest import HOSTILE_ID, playwright

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="`make browser` installs axe")
expect = playwright.expect

pytestmark = pytest.mark.slow

PAGES = ["explore", "people/reader-01", "try", "operations", "evaluation"]


def opened(seen, akin, page):
    seen.page.goto(f"{akin.url}/#/{page}")
    seen.page.wait_for_load_state("networkidle")
    return seen.page


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_shows_itself_without_an_error_or_a_request_to_elsewhere(akin, seen, page, scheme):
    seen.page.emulate_media(color_scheme=scheme)
    shown = opened(seen, akin, page)
    expect(shown.locator("h1")).to_be_visible()
    if page == "evaluation":
        expect(shown.locator("canvas")).to_be_visible()
        expect(shown.locator("table.plot tbody tr")).to_have_count(4)
    seen.shot(f"{page.split('/', maxsplit=1)[0]}-{scheme}")
    assert (seen.errors, seen.elsewhere) == ([], [])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_has_no_serious_finding_of_accessibility(akin, browser, page, scheme):
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)  # axe runs as a script of its own in the page
    try:
        shown = context.new_page()
        shown.goto(f"{akin.url}/#/{page}")
        shown.wait_for_load_state("networkidle")
        found = axe.Axe().run(shown).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    finally:
        context.close()


def test_an_open_item_has_no_serious_finding_either(akin, browser):
    context = browser.new_context(bypass_csp=True, locale="zh-CN")
    try:
        shown = context.new_page()
        shown.goto(f"{akin.url}/#/explore/tea")
        shown.locator("button.title").first.click()
        expect(shown.locator("dialog ol.items > li").first).to_be_visible()
        found = axe.Axe().run(shown).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    finally:
        context.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_on_a_telephone(akin, seen, page):
    seen.page.set_viewport_size({"width": 390, "height": 800})
    shown = opened(seen, akin, page)
    assert not shown.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_a_journey_from_a_search_to_an_event_that_changes_the_list(akin, seen):
    page = opened(seen, akin, "explore")
    page.get_by_label("What are you looking for?").fill("a lighthouse keeper")
    first = page.locator("ol.items > li").first
    expect(first).to_be_visible()
    first.locator("button.title").click()
    expect(page.locator("dialog h2").first).to_be_visible()
    expect(page.locator("dialog ol.items > li").first).to_be_visible()
    item_id = page.locator("dialog code").inner_text()
    page.keyboard.press("Escape")

    page.get_by_role("link", name="People").click()
    expect(page.locator("h1")).to_have_text("People")  # the page that is left has a field for a user, too
    page.get_by_label("User").fill("browser-reader")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".tag.source").first).to_have_text("popular")
    page.get_by_label("Item", exact=True).fill(item_id)
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".good")).to_be_visible()
    expect(page.locator(".timeline li")).to_have_count(1)
    expect(page.locator(".because .bar").first).to_be_visible()
    expect(page.locator(".tag.new").first).to_be_visible()
    page.get_by_role("button", name="Like ").first.click()
    expect(page.locator(".timeline li")).to_have_count(2)
    seen.shot("journey")
    assert (seen.errors, seen.elsewhere) == ([], [])


def test_items_chosen_by_hand_make_recommendations(akin, seen):
    page = opened(seen, akin, "try")
    page.get_by_label("Find items").fill("music and memory")
    page.get_by_role("button", name="Add ").first.click()
    expect(page.locator("section").nth(1).locator("ol.items > li").first).to_be_visible()
    seen.shot("try-chosen")
    assert seen.errors == []


def test_it_speaks_chinese(akin, seen):
    page = opened(seen, akin, "operations")
    page.get_by_label("Language").select_option("zh")
    expect(page.locator("h1")).to_have_text("运维")
    page.reload()
    expect(page.locator("h1")).to_have_text("运维")
    expect(page.locator("td.good")).to_have_text("使用中")
    seen.shot("operations-zh")


def test_both_languages_have_every_sentence_with_the_same_places_to_fill(akin, seen):
    page = opened(seen, akin, "explore")
    words = page.evaluate("import('/console/words.js').then((found) => found.WORDS)")
    places = [
        {name: sorted(re.findall(r"{\w+}", text)) for name, text in words[language].items()}
        for language in ("en", "zh")
    ]
    assert places[0] == places[1]
    assert all(
        words["zh"][name] != text
        for name, text in words["en"].items()
        if re.search(r"[a-z]{4}", re.sub(r"{\w+}", "", text))
    )


def test_filters_of_every_type_narrow_the_answer(akin, seen):
    page = opened(seen, akin, "explore/music")
    expect(page.locator("ol.items > li").first).to_be_visible()
    page.get_by_label("year from").fill("2015")
    page.get_by_label("price to").fill("10")
    with page.expect_response("**/v1/search") as asked:
        page.locator(".facet button", has_text="film").click()
    asked_for = asked.value.request.post_data_json["filter"]
    assert {"eq": {"kind": "film"}} in asked_for["and"]
    assert {"gte": {"year": 2015}} in asked_for["and"]
    expect(page.locator(".facet button[aria-pressed=true]")).to_have_count(1)
    page.get_by_role("button", name="Remove all filters").click()
    expect(page.locator(".facet button[aria-pressed=true]")).to_have_count(0)
    expect(page.get_by_label("year from")).to_have_value("")


def test_a_search_is_found_again_after_a_reload(akin, seen):
    page = opened(seen, akin, "explore")
    page.get_by_label("What are you looking for?").fill("tea & ships / 茶")
    expect(page.locator("h2", has_text="Found")).to_be_visible()
    page.reload()
    expect(page.get_by_label("What are you looking for?")).to_have_value("tea & ships / 茶")
    expect(page.locator("h2", has_text="Found")).to_be_visible()
    assert seen.errors == []


def test_settings_of_a_list_ask_again_at_once(akin, seen):
    page = opened(seen, akin, "people/reader-01")
    expect(page.locator("ol.items > li").first).to_be_visible()
    with page.expect_response("**/recommendations") as asked:
        page.get_by_label("Diversity").fill("0.7")
    assert asked.value.request.post_data_json["diversity"] == 0.7
    with page.expect_response("**/recommendations") as asked:
        page.get_by_label("Strategy").select_option("popular")
    expect(page.locator(".tag.source").first).to_have_text("popular")
    with page.expect_response("**/v1/search") as asked:
        page.get_by_label("Words to search for").fill("sea")
    with page.expect_response("**/v1/search") as asked:
        page.get_by_label("Personalisation of the search").fill("1")
    assert asked.value.request.post_data_json["personalization"] == 1
    assert seen.errors == []


MARKUP = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202eabc"


def test_odd_items_are_shown_as_they_are(akin, seen):
    page = opened(seen, akin, "explore")
    page.get_by_label("What are you looking for?").fill("long long long quoted")
    title = page.locator("button.title", has_text='5 < 6 & "quoted"')
    expect(title.first).to_be_visible()
    title.first.click()
    expect(page.locator("dialog code")).to_have_text(HOSTILE_ID)
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    seen.shot("odd")
    assert not wide
    assert (seen.errors, seen.elsewhere) == ([], [])


def test_markup_that_reached_an_answer_is_shown_as_text(akin, seen):
    # akin takes markup out of texts on the way in; the page must not rely on that.
    entry = {"item_id": MARKUP, "score": 1, "source": MARKUP, "fields": {"title": MARKUP, "categories": [MARKUP]}}
    because = [{"item_id": MARKUP, "event_type": "like", "share": 1.0}]
    endless = {**entry, "item_id": "x" * 10_000, "fields": {"title": "\u05d0<b>" * 3_000, "categories": ["y" * 10_000]}}
    answer = {"items": [{**entry, "because": because}, endless], "strategy": MARKUP, "next": None}
    seen.page.route("**/v1/search", lambda route: route.fulfill(json=answer))
    page = opened(seen, akin, "explore")
    page.get_by_label("What are you looking for?").fill("anything")
    expect(page.locator("button.title")).to_have_count(2)
    expect(page.locator("button.title").first).to_contain_text("<script>")
    expect(page.locator("main iframe, main img, main script, main b")).to_have_count(0)
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert page.locator("ol.items > li").nth(1).bounding_box()["height"] < 600
    seen.shot("hostile")
    assert "owned" not in page.title()
    assert (seen.errors, seen.elsewhere) == ([], [])


def test_a_generation_is_made_live_only_behind_a_question(akin, seen):
    page = opened(seen, akin, "operations")
    expect(page.locator("td.good", has_text="live")).to_be_visible()
    page.get_by_role("button", name="Reindex now").click()
    expect(page.locator("dialog")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).to_be_hidden()
    assert seen.errors == []


def test_it_works_by_keyboard_alone(akin, seen):
    page = opened(seen, akin, "explore")
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("What are you looking for?")).to_be_focused()
    page.keyboard.type("a lighthouse")
    page.keyboard.press("Enter")
    expect(page.locator("ol.items > li").first).to_be_visible()
