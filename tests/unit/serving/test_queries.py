"""Search, similar items, popularity, interests and the evaluation over a real ledger and index."""

import math
from datetime import UTC, datetime, timedelta
from statistics import fmean

import pytest
from msgspec import structs

from ingest.errors import InvalidInputError, NotFoundError
from ingest.events import Event
from ingest.items import Item
from ingest.train import place_taste, train_live
from ingest.weights import Usual
from serving.evaluate.recent import recent_ndcg
from serving.popular import Popularity
from serving.search import SearchRequest
from serving.similar import SimilarRequest
from serving.users import Export
from tests.fakes import FakeClock, installation

DAY = datetime(2024, 5, 1, tzinfo=UTC)


def event(n, user_id, item_id, type_="like", day=0):
    return Event(event_id=f"e{n}", user_id=user_id, item_id=item_id, type=type_, timestamp=DAY + timedelta(days=day))


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items(
            [
                Item(item_id=f"{topic}-{n}", title=f"{topic} {topic} {topic} {n}", categories=(topic, f"shelf{n % 2}"))
                for topic in ("poetry", "crime")
                for n in range(8)
            ]
        )
        yield made


def topics(answer):
    return {one.item_id.split("-")[0] for one in answer.items}


def test_search_finds_by_text_and_honours_the_filter(akin):
    answer = akin.searcher.search(SearchRequest(query="poetry", limit=4, filter={"eq": {"categories": "shelf1"}}))
    assert topics(answer) == {"poetry"}
    assert all(int(one.item_id.split("-")[1]) % 2 == 1 for one in answer.items)
    assert {one.source for one in answer.items} <= {"semantic", "lexical", "hybrid"}
    assert answer.strategy == "hybrid"


@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
def test_search_leans_towards_the_user_as_far_as_asked(akin, mode):
    akin.add_events([event(n, "ann", f"crime-{n}") for n in range(3)])
    query = {"query": "poetry", "user_id": "ann", "limit": 5, "mode": mode}
    assert topics(akin.searcher.search(SearchRequest(**query, personalization=0.0))) == {"poetry"}
    assert topics(akin.searcher.search(SearchRequest(**query, personalization=1.0))) == {"crime"}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (SearchRequest(query="  "), "empty_query"),
        (SearchRequest(query="x" * 2_001), "query_too_long"),
        (SearchRequest(query="x", mode="psychic"), "unknown_mode"),
        (SearchRequest(query="x", personalization=float("nan")), "invalid_share"),
        (SearchRequest(query="x", facets=("year", "nobody")), "undeclared_attribute"),
        (SearchRequest(query="x", facets=("year",), facet_limit=0), "invalid_facet_limit"),
        (SearchRequest(query="x", facets=tuple("abcdefghijklmnopqrstu")), "too_many_facets"),
        (SearchRequest(query="x", personalization=1.5), "invalid_share"),
    ],
)
def test_searches_that_do_not_fit_are_refused(akin, request_, code):
    with pytest.raises(InvalidInputError) as refused:
        akin.searcher.search(request_)
    assert refused.value.code == code


def test_similar_items_leave_out_the_item_itself(akin):
    answer = akin.similar.similar(SimilarRequest(item_id="crime-3", limit=7))
    assert topics(answer) == {"crime"}
    assert "crime-3" not in {one.item_id for one in answer.items}


def test_similar_items_lean_towards_the_user_as_far_as_asked(akin):
    akin.add_events([event(n, "ann", f"poetry-{n}") for n in range(3)])
    asked = {"item_id": "crime-3", "user_id": "ann", "limit": 5}
    assert topics(akin.similar.similar(SimilarRequest(**asked, user_impact=0.0))) == {"crime"}
    assert topics(akin.similar.similar(SimilarRequest(**asked, user_impact=1.0))) == {"poetry"}


def test_similar_to_what_is_not_there_is_not_found(akin):
    akin.delete_items(["crime-1"])
    for item_id in ("nothing", "crime-1"):
        with pytest.raises(NotFoundError):
            akin.similar.similar(SimilarRequest(item_id=item_id))


def test_popularity_is_counted_at_most_once_a_minute(akin):
    clock = FakeClock()
    popularity = Popularity(akin.ledger, akin.settings, clock=clock)
    akin.add_events([event(1, "ann", "crime-1")])
    assert [hit.item_id for hit in popularity.ranking()] == ["crime-1"]
    akin.add_events([event(2, "ann", "crime-2"), event(3, "bob", "crime-2")])
    assert [hit.item_id for hit in popularity.ranking()] == ["crime-1"]
    clock.advance(61)
    assert [(hit.item_id, hit.score) for hit in popularity.ranking()] == [("crime-2", 1.0), ("crime-1", 0.5)]


def test_interests_are_the_categories_of_what_was_liked(akin):
    akin.add_events([event(1, "ann", "crime-0"), event(2, "ann", "crime-2"), event(3, "ann", "poetry-1", "dislike")])
    found = akin.users.interests("ann")
    assert {one.category: pytest.approx(one.share) for one in found.interests} == {"crime": 0.5, "shelf0": 0.5}
    assert found.uncategorised == 0


def test_a_history_shows_the_weights_that_answers_count_by(akin):
    akin.ledger.learned.keep_usual(Usual(values={"purchase": 10.0}))  # as a training finds it
    dear = structs.replace(event(2, "ann", "crime-2", "purchase"), value=1_000.0)
    akin.add_events([structs.replace(event(1, "ann", "crime-0", "purchase"), value=10.0), dear])
    shown = {past.event.item_id: past.weight for past in akin.users.history("ann")}
    answered = akin.tastes.of_user(akin.live.current(), "ann", with_seen=True).profile
    assert answered is not None
    assert shown == {part.entry.event.item_id: pytest.approx(part.weight) for part in answered.parts}
    assert shown["crime-2"] > shown["crime-0"]


def test_nobody_knows_an_unknown_user(akin):
    assert akin.users.history("nobody") == []
    assert akin.users.interests("nobody").interests == ()
    assert akin.users.export("nobody") == Export(events=(), recommendations=())


def test_erasing_a_user_leaves_nothing_of_them(akin):
    akin.add_events([event(1, "ann", "crime-0"), event(2, "bob", "crime-0")])
    receipt = akin.users.erase("ann")
    assert receipt.events == 1
    assert akin.users.export("ann") == Export(events=(), recommendations=())
    assert len(akin.users.export("bob").events) == 1


def test_the_evaluation_finds_held_out_items_where_vectors_tell_topics_apart(akin):
    akin.add_events([event(10 * u + n, f"u{u}", f"crime-{n}", day=n) for u in range(3) for n in range(3)])
    view = akin.live.current()
    result = recent_ndcg(akin.ledger, view.collection, view.generation, akin.settings)
    assert len(result.by_text) == 3
    assert fmean(result.by_text.values()) > 1 / math.log2(7)
    assert recent_ndcg(akin.ledger, view.collection, view.generation, akin.settings) == result


def test_the_evaluation_leaves_out_users_without_two_liked_items(akin):
    akin.add_events([event(1, "ann", "crime-1"), event(2, "ann", "crime-2", "dislike", day=-1)])
    view = akin.live.current()
    assert recent_ndcg(akin.ledger, view.collection, view.generation, akin.settings).by_text == {}


def test_the_evaluation_asks_by_taste_whose_history_has_weights(akin):
    akin.add_events([event(10 * u + n, f"u{u}", f"crime-{n}", day=n) for u in range(3) for n in range(3)])
    train_live(akin.settings.model_copy(update={"taste_least_users": 2}), akin.ledger)
    view = akin.live.current()
    unplaced = recent_ndcg(akin.ledger, view.collection, view.generation, akin.settings)
    assert set(unplaced.by_taste.values()) == {0.0}
    place_taste(akin.ledger, akin.index)
    placed = recent_ndcg(akin.ledger, view.collection, view.generation, akin.settings)
    assert placed.by_taste == {f"u{u}": 1.0 for u in range(3)}
