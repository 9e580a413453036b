"""Diversity, caps, scenarios, pinned items and shared values, over HTTP."""

import json
import math
from collections import Counter

import pytest
from starlette.testclient import TestClient

from ingest.events import Event
from ingest.items import Item
from serving.api.app import create_app
from serving.request import STRATEGIES
from tests.fakes import installation

NAN = math.nan
JSON = {"content-type": "application/json"}
SCENARIOS = {
    "home": {"diversity": 0.3, "max_per": {"categories": 2}, "limit": 6, "pinned": ["i5", "i1", "gone"]},
    "late": {"filter": {"gte": {"year": 2010}}, "strategy": "mean"},
    "new": {"boosts": [{"filter": {"gte": {"year": 2020}}, "by": 5}, {"item_ids": ["i7"], "by": 9}], "limit": 3},
    "discover": {"explore": 0.5, "limit": 6},
    "roomy": {"filter": {"eq": {"categories": "sea"}}, "relax": ["categories"], "limit": 10},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("lists"), scenarios=SCENARIOS) as made:
        topics = ("sea", "war", "love", "food")
        made.add_items(
            [
                Item(
                    item_id=f"i{n}",
                    title=f"a story of {topics[n % 4]}",
                    categories=(topics[n % 4],),
                    attributes={"year": 2000 + n},
                )
                for n in range(24)
            ]
        )
        made.add_events([Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type="like") for n in (0, 1)])
        with TestClient(create_app(made.services())) as client:
            yield client


def page(client, **options):
    answer = client.post("/v1/users/ann/recommendations", json={"fields": ["categories"], **options})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def categories(items):
    return Counter(name for item in items for name in item["fields"]["categories"])


@pytest.mark.parametrize("strategy", ["auto", "interests", "mean", "popular"])
def test_no_more_items_of_a_category_than_asked_for(client, strategy):
    items = page(client, strategy=strategy, limit=8, max_per={"categories": 2})
    assert categories(items) == {"sea": 2, "war": 2, "love": 2, "food": 2}


def test_diversity_brings_more_categories_in(client):
    assert len(categories(page(client, limit=4, diversity=0.9))) > len(categories(page(client, limit=4)))


def test_caps_by_query_string(client):
    answer = client.get(
        "/v1/users/ann/recommendations", params={"max_per": '{"categories": 1}', "fields": "categories"}
    )
    assert max(categories(answer.json()["items"]).values()) == 1


def test_a_scenario_says_what_the_request_does_not(client):
    items = page(client, scenario="home")
    assert len(items) == 6
    assert items[0]["item_id"] == "i5"
    assert items[0]["source"] == "pinned"
    assert "i1" not in {item["item_id"] for item in items}  # pinned, but seen
    assert len(page(client, scenario="home", limit=3)) == 3
    assert "i5" not in {item["item_id"] for item in page(client, scenario="home", exclude_ids=["i5"])}


def test_both_filters_count_in_a_scenario(client):
    answer = client.post(
        "/v1/users/ann/recommendations", json={"scenario": "late", "filter": {"lte": {"year": 2012}}, "limit": 20}
    ).json()
    assert {item["item_id"] for item in answer["items"]} == {"i10", "i11", "i12"}
    assert answer["strategy"] == "mean"


def test_pages_of_a_scenario_do_not_repeat(client):
    answer = client.post("/v1/users/ann/recommendations", json={"scenario": "home"}).json()
    more = client.post(answer["next"]).json()
    assert {i["item_id"] for i in answer["items"]}.isdisjoint(i["item_id"] for i in more["items"])
    assert "pinned" not in {item["source"] for item in more["items"]}


def test_reasons_name_what_item_and_history_share(client):
    items = page(client, limit=4, explain=True)
    assert all(
        item["shared"] == {"categories": item["fields"]["categories"]}
        for item in items
        if item["fields"]["categories"][0] in ("sea", "war")
    )
    assert any("shared" in item for item in items)


def test_a_scenario_lifts_items(client):
    items = page(client, scenario="new")
    assert items[0]["item_id"] == "i7"
    assert {item["item_id"] for item in items[1:]} < {f"i{n}" for n in range(20, 24)}
    assert items[0]["boost"] > items[1]["boost"] > 0


def test_a_scenario_explores_and_a_request_may_say_no(client):
    sources = [item["source"] for item in page(client, scenario="discover", seed=4)]
    assert sources.count("explore") == 3
    assert [item["source"] for item in page(client, scenario="discover", seed=4)] == sources
    assert "explore" not in {item["source"] for item in page(client, scenario="discover", explore=0)}


def test_relaxing_is_labelled_in_the_answer(client):
    options = {"filter": {"gte": {"year": 2022}}, "limit": 4}
    strict = client.post("/v1/users/ann/recommendations", json=options).json()
    assert len(strict["items"]) == 2
    assert "relaxed" not in strict
    answer = client.get(
        "/v1/users/ann/recommendations", params={"filter": '{"gte": {"year": 2022}}', "limit": 4, "relax": "year"}
    ).json()
    assert [item.get("relaxed") for item in answer["items"]] == [None, None, ["year"], ["year"]]
    assert answer["relaxed"] == ["year"]


def test_only_a_scenario_relaxes_its_own_filter(client):
    both = {"scenario": "late", "filter": {"lte": {"year": 2012}}, "relax": ["year"], "limit": 20}
    answer = client.post("/v1/users/ann/recommendations", json=both).json()
    assert {item["item_id"] for item in answer["items"]} == {f"i{n}" for n in range(10, 24)}
    roomy = page(client, scenario="roomy")
    assert [item.get("relaxed") for item in roomy] == [None] * 5 + [["categories"]] * 5


def test_reasons_add_up_with_what_a_scenario_adds(client):
    for item in page(client, scenario="new", explain=True):
        because = sum(reason["share"] for reason in item["because"])
        assert because + item.get("prior", 0) + item["boost"] == pytest.approx(item["score"], abs=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ten_thousand_items_may_be_excluded(client, strategy):
    away = [f"i{n}" for n in range(2, 20)] + [f"none-{n}" for n in range(9_982)]
    items = page(client, strategy=strategy, exclude_ids=away, limit=20)
    assert {item["item_id"] for item in items} == {"i20", "i21", "i22", "i23"}
    refused = client.post("/v1/users/ann/recommendations", json={"exclude_ids": [*away, "more"]})
    assert refused.status_code == 422
    assert refused.json()["field"] == "exclude_ids"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"diversity": 1.5}, "diversity"),
        ({"scenario": "nowhere"}, "scenario"),
        ({"strategy": "magic"}, "strategy"),
        ({"max_per": {"unknown": 2}}, "max_per"),
        ({"max_per": {"categories": 0}}, "max_per"),
        ({"max_per": {"categories": NAN}}, "max_per.categories"),
        ({"diversity": NAN}, "diversity"),
        ({"diversity": -0.1}, "diversity"),
        ({"min_score": NAN}, "min_score"),
        ({"min_score": -math.inf}, "min_score"),
        ({"explore": 0.6}, "explore"),
        ({"explore": NAN}, "explore"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"relax": ["colour"]}, "relax"),
        ({"relax": ["year"] * 11}, "relax"),
        ({"filter": {"gte": {"year": NAN}}}, "filter.gte.year"),
        ({"weights": {"like": NAN}}, "weights.like"),
        ({"weights": {"like": 1}}, "weights"),
        ({"limit": 0}, "limit"),
    ],
)
def test_what_does_not_fit_is_named(client, options, field):
    named(client.post("/v1/users/ann/recommendations", content=json.dumps(options), headers=JSON), field)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/recommendations", {"history": [{"item_id": "i0", "value": NAN}]}, "history.0.value"),
        ("/v1/recommendations", {"history": [{"item_id": "i0", "type": "stare"}]}, "history.0.type"),
        ("/v1/items/i0/similar", {"user_impact": 1.5}, "user_impact"),
        ("/v1/items/i0/similar", {"user_impact": NAN}, "user_impact"),
        ("/v1/search", {"query": "sea", "personalization": NAN}, "personalization"),
        ("/v1/search", {"query": "sea", "mode": "magic"}, "mode"),
    ],
)
def test_so_it_is_elsewhere(client, path, body, field):
    named(client.post(path, content=json.dumps(body), headers=JSON), field)


@pytest.mark.parametrize("name", ["diversity", "min_score", "explore"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "much"])
def test_so_it_is_in_a_query_string(client, name, value):
    named(client.get("/v1/users/ann/recommendations", params={name: value}), name)


def named(refused, field):
    assert refused.status_code == 422, refused.text
    assert refused.json()["field"] == field
