"""Boosts, exploring and relaxing over a real ledger and index: what each does to a page, and what it leaves alone."""

from dataclasses import replace

import pytest

from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.items import AttributeType, Item
from serving.recommend import Recommender
from serving.request import BoostedItems, RecommendRequest
from tests.fakes import installation

TOPICS = ("poetry", "crime", "cooking")


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items(
            [
                Item(
                    item_id=f"i{n}",
                    title=f"{TOPICS[n % 3]} {TOPICS[n % 3]} {n}",
                    categories=(TOPICS[n % 3],),
                    attributes={"year": 2000 + n},
                )
                for n in range(30)
            ]
        )
        made.add_events([Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type="like") for n in (0, 3)])
        yield made


ANN = RecommendRequest(user_id="ann", limit=6, explain=True)


def ask(akin, **options):
    return akin.recommender.recommend(replace(ANN, **options))


def ids(answer):
    return [one.item_id for one in answer.items]


def test_a_boosted_item_comes_first_however_low_it_stood_and_says_what_was_added(akin):
    plain = ask(akin)
    assert "i7" not in ids(plain)
    best = plain.items[0].score
    answer = ask(akin, boosts=(BoostedItems(by=2.0, item_ids=("i7", "gone")),))
    assert ids(answer) == ["i7", *ids(plain)[:5]]
    assert answer.items[0].boost == pytest.approx(2 * best)
    assert answer.items[1].boost is None


def test_boosted_values_bring_their_best_items(akin):
    answer = ask(akin, boosts=(BoostedItems(by=2.0, filter={"eq": {"categories": "crime"}}),))
    crime = ask(akin, filter={"eq": {"categories": "crime"}})
    assert ids(answer) == ids(crime)
    for lifted, plain in zip(answer.items, crime.items, strict=True):
        assert lifted.score - lifted.boost == pytest.approx(plain.score, abs=1e-5)


def test_a_small_boost_moves_only_what_stands_near(akin):
    plain = ask(akin, limit=28)
    order = ids(plain)
    answer = ask(akin, limit=28, boosts=(BoostedItems(by=0.01, item_ids=(order[-1],)),))
    assert ids(answer)[0] == order[0]


def test_exploring_gives_places_to_what_was_shown_least(akin):
    for n in range(1, 30, 2):  # half of the catalogue was shown
        akin.recommender.recommend(RecommendRequest(user_id=f"u{n}", limit=1, exclude_ids=(), filter=year(n)))
    akin.log.flush()
    answer = ask(akin, explore=0.5)
    explored = [one for one in answer.items if one.source == "explore"]
    assert len(explored) == 3
    assert all(int(one.item_id[1:]) % 2 == 0 for one in explored)
    assert [one.item_id for one in answer.items if one.source != "explore"] == ids(ask(akin))[:3]


def year(n):
    return {"eq": {"year": 2000 + n}}


def test_equal_seeds_explore_alike_and_others_do_not(akin):
    pages = [tuple(ids(ask(akin, explore=0.5, seed=seed))) for seed in (1, 1, 2, 3, 4)]
    assert pages[0] == pages[1]
    assert len(set(pages)) > 2


def test_a_page_is_asked_for_again_with_the_same_seed(akin):
    first = ask(akin, explore=0.5)
    again = [ids(akin.recommender.next_page(first.recommendation_id)) for _ in range(2)]
    assert again[0] == again[1]


def test_a_small_share_explores_now_and_then(akin):
    counts = [sum(one.source == "explore" for one in ask(akin, explore=0.05, seed=n).items) for n in range(60)]
    assert set(counts) == {0, 1}
    assert 6 <= sum(counts) <= 32  # 18 of 60 pages of six are expected to explore


def test_what_was_disliked_is_not_explored(akin):
    away = [f"i{n}" for n in range(30) if n % 3]
    akin.add_events([Event(event_id=i, user_id="bob", item_id=i, type="dislike") for i in away])
    for strategy in ("auto", "mean"):
        answer = ask(akin, user_id="bob", strategy=strategy, explore=0.5, exclude_seen=False, limit=10)
        assert not {one.item_id for one in answer.items if one.source == "explore"} & set(away)


def test_nothing_is_relaxed_unless_asked(akin):
    assert len(ask(akin, filter={"and": [year(7), {"eq": {"categories": "crime"}}]}).items) == 1


def test_relaxing_drops_one_after_the_other_until_the_page_is_full(akin):
    narrow = {"and": [{"gte": {"year": 2021}}, {"eq": {"categories": "crime"}}]}
    answer = ask(akin, filter=narrow, relax=("year", "categories"), limit=8)
    assert [one.relaxed for one in answer.items] == [()] * 3 + [("year",)] * 5
    assert answer.relaxed == ("year",)
    assert all(int(one.item_id[1:]) % 3 == 1 for one in answer.items)
    assert [int(one.item_id[1:]) >= 21 for one in answer.items] == [True] * 3 + [False] * 5
    more = akin.recommender.next_page(answer.recommendation_id)
    assert [one.relaxed for one in more.items] == [("year",)] * 2 + [("year", "categories")] * 6


def test_what_is_required_or_excluded_is_never_relaxed(akin):
    answer = ask(
        akin, filter=year(7), required={"eq": {"categories": "crime"}}, exclude_ids=("i4",), relax=("year",), limit=20
    )
    assert ids(answer)[0] == "i7"
    assert {int(item_id[1:]) % 3 for item_id in ids(answer)} == {1}
    assert len(answer.items) == 9


def test_caps_and_the_least_score_may_be_relaxed(akin):
    answer = ask(akin, max_per={"categories": 1}, relax=("max_per",), limit=5)
    assert [one.relaxed for one in answer.items] == [()] * 3 + [("max_per",)] * 2
    answer = ask(akin, min_score=0.99, relax=("min_score",), strategy="mean", limit=4)
    assert answer.items[-1].relaxed == ("min_score",)


def test_a_relaxation_that_nobody_declared_is_named(akin):
    with pytest.raises(InvalidInputError) as refused:
        ask(akin, relax=("colour",))
    assert refused.value.field == "relax"


def test_a_page_that_caps_leave_short_goes_on(akin):
    answer = ask(akin, max_per={"categories": 1}, limit=6)
    assert len(answer.items) == 3
    assert answer.has_next
    assert len(akin.recommender.next_page(answer.recommendation_id).items) == 3


def test_pinned_items_have_the_score_and_the_reasons_of_the_strategy(akin):
    answer = ask(akin, pinned=("i7",), limit=28)
    plain = {one.item_id: one for one in ask(akin, limit=28).items}
    assert (answer.items[0].item_id, answer.items[0].source) == ("i7", "pinned")
    assert answer.items[0].score == pytest.approx(plain["i7"].score, abs=1e-5)
    assert {reason.item_id for reason in answer.items[0].because} == {"i0", "i3"}


def test_a_deleted_item_that_a_boost_names_is_in_no_answer_before_the_index_knows(akin):
    boosts = (BoostedItems(by=2.0, item_ids=("i7", "i10")),)
    assert set(ids(ask(akin, boosts=boosts))[:2]) == {"i7", "i10"}
    akin.delete_items(["i7"], place=False)
    for more in ({}, {"min_score": 0.0}, {"filter": year(7), "relax": ("year",)}):
        assert "i7" not in ids(ask(akin, boosts=boosts, limit=20, **more))


def test_nothing_that_arranges_a_page_brings_a_deleted_item_back(akin):
    gone = [f"i{n}" for n in range(1, 30, 2)]
    akin.delete_items(gone, place=False)
    everything = {
        "pinned": tuple(gone[:3]),
        "boosts": (BoostedItems(by=1.0, filter={"eq": {"categories": "crime"}}, item_ids=tuple(gone)),),
        "explore": 0.5,
        "relax": ("categories", "max_per"),
        "max_per": {"categories": 2},
        "diversity": 0.3,
    }
    for strategy in ("auto", "mean", "taste", "popular"):
        answer = ask(akin, strategy=strategy, filter={"eq": {"categories": "crime"}}, limit=12, **everything)
        assert answer.items
        assert not {one.item_id for one in answer.items} & set(gone)


@pytest.fixture
def coloured(tmp_path):
    """Eighty golden items, of which ann likes one, and a red one that stands far behind them."""
    with installation(tmp_path) as made:
        golden = [Item(item_id=f"gold{n}", title=f"gold gold {n}", categories=("gold",)) for n in range(80)]
        made.add_items([*golden, Item(item_id="red", title="quite another thing", categories=("red",))])
        made.add_events([Event(event_id="e", user_id="ann", item_id="gold0", type="like")])
        yield made


def test_what_caps_hold_back_beside_a_pinned_item_is_looked_for_further_down(coloured):
    answer = ask(coloured, pinned=("gold7",), max_per={"categories": 1}, limit=2)
    assert ids(answer) == ["gold7", "red"]


def test_a_page_that_a_pinned_item_leaves_short_goes_on(coloured):
    answer = ask(coloured, pinned=("gold7",), max_per={"categories": 1}, limit=2, exclude_ids=("red",))
    assert ids(answer) == ["gold7"]
    assert answer.has_next
    more = coloured.recommender.next_page(answer.recommendation_id)
    assert len(more.items) == 1
    assert more.items[0].item_id != "gold7"


def test_relaxing_counts_what_stands_on_the_page_for_its_caps(coloured):
    wanted = {"max_per": {"categories": 1}, "limit": 2, "filter": {"lte": {"year": 0}}, "relax": ("year",)}
    coloured.add_items([Item(item_id="gilt", title="gold", categories=("gold",), attributes={"year": -1})])
    answer = ask(coloured, **wanted)
    assert ids(answer) == ["gilt", "red"]
    without = ask(coloured, exclude_ids=("red",), **wanted)
    assert ids(without) == ["gilt"]
    assert without.has_next


def test_a_cap_counts_by_an_attribute_that_the_next_generation_will_have(akin):
    settings = akin.settings.model_copy(
        update={"attributes": {**akin.settings.attributes, "shelf": AttributeType.KEYWORD}}
    )
    akin.add_items([Item(item_id=f"i{n}", title=f"poetry {n}", attributes={"shelf": "top"}) for n in range(30)])
    answer = Recommender(akin.ledger, akin.live, settings).recommend(replace(ANN, max_per={"shelf": 2}))
    assert len(answer.items) == 2
    assert answer.has_next


def test_the_least_score_is_asked_of_a_boosted_score(akin):
    order = ask(akin, limit=28)
    best, last = order.items[0].score, order.items[-1]
    boosts = (BoostedItems(by=2.0, item_ids=(last.item_id,)),)
    answer = ask(akin, limit=28, boosts=boosts, min_score=best + 0.01)
    assert ids(answer) == [last.item_id]
    assert answer.items[0].score == pytest.approx(last.score + 2 * best, abs=1e-5)
