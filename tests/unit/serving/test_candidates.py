"""What was deleted is in no answer from that moment on, and what else is on its way out costs an answer nothing."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ingest.events import Event
from ingest.items import Item
from ingest.train import place_taste, train_live
from serving.candidates import Selection, nearest
from serving.request import STRATEGIES, RecommendRequest
from serving.search import SearchRequest
from serving.similar import SimilarRequest
from tests.fakes import HashingEncoder, installation

GONE = [f"i{n}" for n in range(10, 70)]  # most of what ann's likes are near to, and all that is popular
QUERY = HashingEncoder().embed(["poetry"])[0]
TUNED = {"interests_prior": 0.5, "blend_prior": 0.5, "taste_least_users": 1}


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path, **TUNED) as made:
        made.add_items([Item(item_id=f"i{n}", title=f"poetry {n % 7}") for n in range(100)])
        made.add_events([liked("ann", 0), liked("ann", 1)])
        made.add_events([liked(f"u{n}", some) for n in range(10, 70) for some in (0, n)])
        train_live(made.settings, made.ledger)
        place_taste(made.ledger, made.index)
        made.popularity.ranking()
        made.popularity.recent(14.0)
        yield made


def liked(user_id, n):
    return Event(event_id=f"{user_id}/{n}", user_id=user_id, item_id=f"i{n}", type="like")


def questions(akin, limit=20):
    """An answer of every kind, by what was asked."""
    ask, more = akin.recommender.recommend, {"filter": {"not": {"eq": {"categories": "none"}}}}
    for strategy in STRATEGIES:
        yield strategy, lambda s=strategy: ask(RecommendRequest(user_id="ann", strategy=s, limit=limit))
        yield (
            f"{strategy}, filtered",
            lambda s=strategy: ask(RecommendRequest(user_id="ann", strategy=s, limit=limit, **more)),
        )
    yield "by fields", lambda: ask(RecommendRequest(user_id="ann", limit=limit, fields=("title",)))
    for mode in ("semantic", "lexical", "hybrid"):
        yield mode, lambda m=mode: akin.searcher.search(SearchRequest(query="poetry", mode=m, limit=limit))
    yield "similar", lambda: akin.similar.similar(SimilarRequest(item_id="i0", user_id="ann", limit=limit))


def test_pages_are_full_of_what_is_left(akin):
    akin.delete_items(GONE, place=False)
    for name, ask in questions(akin):
        found = [one.item_id for one in ask().items]
        assert not set(GONE) & set(found), name
        assert len(set(found)) == 20, name


def test_pages_are_full_where_more_was_deleted_than_a_query_can_exclude(akin, monkeypatch):
    monkeypatch.setattr("serving.candidates.MAX_EXCLUDED", 5)
    akin.delete_items(GONE, place=False)
    for name, ask in questions(akin):
        found = [one.item_id for one in ask().items]
        assert not set(GONE) & set(found), name
        assert len(set(found)) == 20, name


def test_no_query_asks_for_more_than_an_index_gives(akin, monkeypatch):
    monkeypatch.setattr("serving.candidates.MAX_EXCLUDED", 5)
    monkeypatch.setattr("serving.candidates.MAX_LIMIT", 50)
    monkeypatch.setattr("ingest.index.checks.MAX_LIMIT", 50)
    akin.delete_items(GONE, place=False)
    hits, _ = nearest(akin.ledger, akin.live.current(), QUERY, Selection(limit=45))
    assert not set(GONE) & {hit.item_id for hit in hits}


@dataclass
class PlacedMeanwhile:
    """A collection; what waits is placed, and with that struck off, while its answer is on the way."""

    collection: Any
    place: Any

    def query(self, query):
        found = self.collection.query(query)
        self.place()
        return found


def test_a_deletion_that_is_placed_while_the_index_answers_is_one_all_the_same(akin):
    akin.delete_items(GONE, place=False)
    view = akin.live.current()
    meanwhile = replace(view, collection=PlacedMeanwhile(view.collection, akin.place_all))
    hits, _ = nearest(akin.ledger, meanwhile, QUERY, Selection(limit=20))
    assert len(hits) == 20
    assert not set(GONE) & {hit.item_id for hit in hits}
    assert akin.ledger.pending.count() == 0


def steps_of(ledger, ask):
    """How many hundreds of steps SQLite takes for an answer."""
    steps = []
    with ledger._database.read() as connection:  # the one that this thread reads with
        driver = connection.connection.dbapi_connection
        driver.set_progress_handler(lambda: steps.append(None), 100)
        try:
            ask()
        finally:
            driver.set_progress_handler(None, 0)
    return len(steps)


def test_an_answer_reads_no_more_beside_thousands_of_deletions(akin):
    for name, ask in questions(akin):
        ask()
        before = steps_of(akin.ledger, ask)
        akin.ledger.items.write(
            [Item(item_id=f"{name}{n}", title="x") for n in range(3_000)], job_id="j", revive=False, due_in=0
        )
        akin.ledger.items.delete([f"{name}{n}" for n in range(3_000)], job_id="j", due_in=0)
        assert steps_of(akin.ledger, ask) <= before + 10, name
