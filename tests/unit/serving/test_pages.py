"""The next page from another process: what is written with an answer, for how long, and what is never written."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingest.events import Event
from ingest.items import Item
from ingest.store.records import LoggedRecommendation
from serving import pages
from serving.inline_history import parse_inline_history
from serving.recommend import RecommendationExpiredError, Recommender
from serving.request import BoostedItems, RecommendRequest
from tests.fakes import installation


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items([Item(item_id=f"i{n}", title=f"title {n % 4}", categories=(f"c{n % 4}",)) for n in range(30)])
        made.add_events([Event(event_id="e", user_id="ann", item_id="i0", type="like")])
        yield made


def another(akin):
    """The same ledger and index in a process of its own, as far as memory goes."""
    return Recommender(akin.ledger, akin.live, akin.settings, log=akin.log)


ARRANGED = RecommendRequest(
    user_id="ann",
    limit=6,
    diversity=0.4,
    max_per={"categories": 2},
    pinned=("i5",),
    explore=0.2,
    boosts=(BoostedItems(by=0.5, item_ids=("i9",), filter={"eq": {"categories": "c1"}}),),
    filter={"not": {"eq": {"categories": "c3"}}},
    required={"exists": "categories"},
)


def test_any_process_gives_the_next_page_and_the_same_one(akin):
    # What was shown least is another thing to a process that counted before the first page was shown.
    first = akin.recommender.recommend(replace(ARRANGED, explore=0.0))
    akin.log.flush()
    here = akin.recommender.next_page(first.recommendation_id)
    there = another(akin).next_page(first.recommendation_id)
    assert [one.item_id for one in here.items] == [one.item_id for one in there.items]
    assert here.items


def test_no_page_repeats_whichever_process_answers(akin):
    answer = akin.recommender.recommend(ARRANGED)
    given = [one.item_id for one in answer.items]
    while answer.has_next:
        akin.log.flush()
        answer = another(akin).next_page(answer.recommendation_id)
        given += [one.item_id for one in answer.items]
    assert len(given) == len(set(given))
    assert {f"i{n}" for n in range(1, 30) if n % 4 != 3} == set(given)


def test_a_history_that_was_sent_along_is_not_written(akin):
    history = parse_inline_history([{"item_id": "i1"}], akin.settings)
    answer = akin.recommender.recommend(RecommendRequest(history=history, limit=3))
    akin.log.flush()
    assert akin.recommender.next_page(answer.recommendation_id).items
    with pytest.raises(RecommendationExpiredError):
        another(akin).next_page(answer.recommendation_id)


def test_what_was_asked_is_read_back_as_it_was(akin):
    past = [
        {"item_id": "i1", "type": "view", "value": 3},
        {"item_id": "i2", "timestamp": "2024-05-01T12:30:00.000001Z"},
    ]
    for request in (
        RecommendRequest(),
        replace(ARRANGED, min_score=0.1, seed=2**63 - 1, relax=("categories",), exclude_ids=("ä/1", "i2")),
        RecommendRequest(history=parse_inline_history(past, akin.settings), begun_by="interests"),
    ):
        page = pages.decoded(pages.encoded(request, ("i7", "i8")))
        assert (page.request, page.given) == (request, ("i7", "i8"))


def test_a_page_takes_as_much_as_its_request_says(akin):
    values = [f"{n:08000}" for n in range(8)]
    plain = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=3))
    filtered = akin.recommender.recommend(
        RecommendRequest(user_id="ann", limit=3, filter={"not": {"in": {"categories": values}}})
    )
    kept = akin.recommender._continuations._kept
    more = kept[filtered.recommendation_id].size - kept[plain.recommendation_id].size
    assert 8 * 8_000 < more < 8 * 8_000 + 500
    assert akin.recommender._continuations._size == sum(one.size for one in kept.values())


def test_pages_go_with_their_user(akin):
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=3))
    akin.log.flush()
    akin.users.erase("ann")
    for recommender in (akin.recommender, another(akin)):
        with pytest.raises(RecommendationExpiredError):
            recommender.next_page(answer.recommendation_id)


def test_pages_go_with_their_time(akin):
    body = pages.encoded(RecommendRequest(user_id="ann", limit=3), ("i1",))
    for name, age in (("a" * 32, 29), ("b" * 32, 31)):
        entry = LoggedRecommendation(
            recommendation_id=name,
            user_id="ann",
            generation="first",
            strategy="mean",
            item_ids=("i1",),
            created_at=datetime.now(UTC) - timedelta(minutes=age),
            page=body,
        )
        akin.ledger.recommendations.log([entry])
    assert another(akin).next_page("a" * 32).items
    with pytest.raises(RecommendationExpiredError):
        another(akin).next_page("b" * 32)
    akin.ledger.recommendations.forget_pages_before(datetime.now(UTC) - pages.PAGES_KEPT)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    assert akin.ledger.recommendations.page("a" * 32, long_ago) is not None
    assert akin.ledger.recommendations.page("b" * 32, long_ago) is None


def test_what_another_version_wrote_has_expired(akin):
    entry = LoggedRecommendation(
        recommendation_id="c" * 32,
        user_id=None,
        generation="first",
        strategy="mean",
        item_ids=(),
        created_at=datetime.now(UTC),
        page=b'{"request": {"limit": "many"}, "given": []}',
    )
    akin.ledger.recommendations.log([entry])
    assert pages.read(akin.ledger, "c" * 32, elsewhere=False) is None


def test_a_page_that_is_being_written_is_waited_for(akin):
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=3))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        akin.log.flush()

    assert pages.read(akin.ledger, answer.recommendation_id, elsewhere=True, sleep=sleep) is not None
    assert len(slept) <= 1
    assert pages.read(akin.ledger, "d" * 32, elsewhere=True, sleep=slept.append) is None
    assert sum(slept) < 1
