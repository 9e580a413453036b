"""Recommendations over a real ledger and a real index: strategies, fallbacks, exclusions, pages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingest.errors import InvalidInputError, UnavailableError
from ingest.events import Event
from ingest.items import Item
from ingest.taste.model import no_model
from ingest.train import place_taste, train_live
from serving.answers import Because
from serving.continuations import Continuations
from serving.inline_history import parse_inline_history
from serving.recommend import RecommendationExpiredError, Recommender
from serving.request import RecommendRequest
from serving.tastes import Tastes
from serving.users import Users
from tests.fakes import FakeClock, installation

TOPICS = ("poetry", "crime", "cooking")


def item(n, topic=None, **attributes):
    topic = topic or TOPICS[n % len(TOPICS)]
    return Item(item_id=f"i{n}", title=f"{topic} {topic} {n}", categories=(topic,), attributes=attributes)


def event(user_id, item_id, type_="like", **more):
    return Event(event_id=f"{user_id}/{item_id}/{type_}", user_id=user_id, item_id=item_id, type=type_, **more)


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items([item(n, year=2000 + n) for n in range(30)])
        yield made


def explained_score(one):
    return sum(reason.share for reason in one.because) + (one.prior or 0)


def ids(answer):
    return [one.item_id for one in answer.items]


def test_a_user_gets_items_like_those_they_liked(akin):
    akin.add_events([event("ann", "i0"), event("ann", "i3")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=5))
    assert answer.strategy == "interests"
    assert {int(item_id[1:]) % 3 for item_id in ids(answer)} == {0}
    assert not {"i0", "i3"} & set(ids(answer))
    assert {one.source for one in answer.items} == {"interests"}
    assert [one.score for one in answer.items] == sorted((one.score for one in answer.items), reverse=True)


def test_a_new_user_gets_what_is_popular_and_is_told_so(akin):
    akin.add_events([event(user, "i7") for user in ("a", "b", "c")] + [event("a", "i8")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="new", limit=4))
    assert answer.strategy == "popular"
    assert [(one.item_id, one.score, one.source) for one in answer.items[:2]] == [
        ("i7", 1.0, "popular"),
        ("i8", pytest.approx(1 / 3), "popular"),
    ]
    assert [one.source for one in answer.items[2:]] == ["catalogue", "catalogue"]


def test_an_installation_without_events_still_answers(akin):
    answer = akin.recommender.recommend(RecommendRequest(user_id="first", limit=10))
    assert len(set(ids(answer))) == 10
    assert {one.source for one in answer.items} == {"catalogue"}


def test_an_installation_without_items_answers_with_nothing(tmp_path):
    with installation(tmp_path) as empty:
        answer = empty.recommender.recommend(RecommendRequest(user_id="first"))
        assert answer.items == ()
        assert not answer.has_next


def test_an_installation_without_a_generation_says_what_to_do(tmp_path):
    with installation(tmp_path, live=False) as empty, pytest.raises(UnavailableError, match="reindex"):
        empty.recommender.recommend(RecommendRequest(user_id="first"))


def test_a_user_who_only_dislikes_gets_popular_items_without_those(akin):
    akin.add_events([event(user, "i7") for user in ("a", "b")] + [event("ann", "i7", "dislike")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=29, exclude_seen=False))
    assert answer.strategy == "popular"
    assert "i7" not in ids(answer)
    assert len(answer.items) == 29


def test_seen_items_may_be_asked_for(akin):
    akin.add_events([event("ann", "i0")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=1, exclude_seen=False))
    assert ids(answer) == ["i0"]


def test_histories_longer_than_the_profile_are_excluded_whole(tmp_path):
    with installation(tmp_path, history_limit=2) as akin:
        akin.add_items([item(n) for n in range(12)])
        akin.add_events([event("ann", f"i{n}") for n in range(8)])
        answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=10))
        assert set(ids(answer)) == {"i8", "i9", "i10", "i11"}


def test_a_deleted_item_is_in_no_answer_even_before_the_index_knows(akin):
    akin.add_events([event("ann", "i0"), event("bob", "i9")])
    nearest = ids(akin.recommender.recommend(RecommendRequest(user_id="ann", limit=9)))
    akin.popularity.ranking()
    akin.delete_items(nearest[:6], place=False)
    for user, popular in (("ann", False), ("new", True)):
        answer = akin.recommender.recommend(RecommendRequest(user_id=user, limit=20))
        assert not set(nearest[:6]) & set(ids(answer))
        assert len(answer.items) == 20
        assert (answer.strategy == "popular") is popular


def test_explanations_add_up_and_name_titles_when_asked(akin):
    akin.add_events([event("ann", "i0"), event("ann", "i1", "view"), event("ann", "i2", "dislike")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=5, explain=True, fields=("title",)))
    for one in answer.items:
        assert explained_score(one) == pytest.approx(one.score, abs=1e-5)
        assert [reason.share for reason in one.because] == sorted((r.share for r in one.because), reverse=True)
        assert {reason.item_id for reason in one.because} == {"i0", "i1", "i2"}
        assert all(reason.title for reason in one.because)
        assert set(one.fields) == {"title"}


def test_the_largest_reasons_are_told_and_the_others_as_their_sum(akin):
    types = ("like", "view", "dislike", "view", "dislike")
    akin.add_events([event("ann", f"i{n}", one) for n, one in enumerate(types)])
    asked = RecommendRequest(user_id="ann", limit=8, explain=True, fields=("title",))
    whole = akin.recommender.recommend(asked).items
    for most in (1, 2, 4, 5, 6):
        for one, full in zip(akin.recommender.recommend(replace(asked, reasons=most)).items, whole, strict=True):
            shares = [reason.share for reason in one.because]
            told = sorted((abs(reason.share) for reason in full.because), reverse=True)[:most]
            assert sorted(map(abs, shares), reverse=True) == told
            assert shares == sorted(shares, reverse=True)
            assert (one.others is None) == (most >= len(types))
            if one.others is not None:
                assert one.others.events == len(types) - most
                assert explained_score(one) + one.others.share == pytest.approx(one.score, abs=1e-5)
            assert one.shared == full.shared


@pytest.mark.parametrize("strategy", ["interests", "mean"])
def test_no_more_reasons_are_made_than_are_told(akin, monkeypatch, strategy):
    akin.add_events([event("ann", f"i{n}") for n in range(15)])
    made = []
    monkeypatch.setattr("serving.explain.Because", lambda **told: made.append(told) or Because(**told))
    asked = RecommendRequest(user_id="ann", strategy=strategy, limit=10, explain=True, reasons=2, fields=("title",))
    answer = akin.recommender.recommend(asked)
    assert [(len(one.because), one.others.events) for one in answer.items] == [(2, 13)] * 10
    assert all(reason.title for one in answer.items for reason in one.because)
    assert len(made) == 20


def test_an_inline_history_answers_like_a_stored_one_and_counts_what_is_unknown(akin):
    akin.add_events([event("ann", "i0"), event("ann", "i3")])
    stored = akin.recommender.recommend(RecommendRequest(user_id="ann"))
    history = parse_inline_history(
        [{"item_id": "i0"}, {"item_id": "i3", "type": "like"}, {"item_id": "nobody-knows"}], akin.settings
    )
    inline = akin.recommender.recommend(RecommendRequest(history=history))
    assert ids(inline) == ids(stored)
    assert (inline.profile.events, inline.profile.used, inline.profile.unknown) == (3, 2, 1)


@pytest.mark.parametrize("times", [[None] * 3, [3, 2, 1], [1, None, 2]])
def test_where_histories_fade_what_was_met_last_counts_most_sent_along_or_stored(tmp_path, times):
    start = datetime(2026, 5, 1, tzinfo=UTC)
    stamps = [None if hours is None else start + timedelta(hours=hours) for hours in times]
    order = sorted(range(3), key=lambda n: times[n] or 0)
    with installation(tmp_path, history_fading=1.0, half_life_days=10_000) as akin:
        akin.add_items([item(n, "poetry") for n in range(12)])
        akin.add_events([event("ann", f"i{n}", timestamp=stamp) for n, stamp in enumerate(stamps)])
        given = [{"item_id": f"i{n}", "timestamp": stamp} for n, stamp in enumerate(stamps)]
        # What is unknown is as little met as what was deleted.
        unknown = [{"item_id": "nobody-knows", "timestamp": start + timedelta(hours=9)}]
        history = parse_inline_history([*given, *unknown], akin.settings)
        stored, inline = (
            akin.recommender.recommend(RecommendRequest(limit=1, explain=True, strategy="mean", **who))
            for who in ({"user_id": "ann"}, {"history": history})
        )
    met_last_first = [f"i{n}" for n in reversed(order)]
    for answer in (stored, inline):
        shares = {reason.item_id: reason.share for reason in answer.items[0].because}
        weights = [shares[item_id] / shares[met_last_first[0]] for item_id in met_last_first]
        assert weights == pytest.approx([1, 1 / 2, 1 / 3], rel=0.2)
    assert [one.score for one in inline.items] == pytest.approx([one.score for one in stored.items])


def test_pages_never_repeat_and_end_with_the_catalogue(akin):
    akin.add_events([event("ann", "i0")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=7))
    given_ids = ids(answer)
    while answer.has_next:
        answer = akin.recommender.next_page(answer.recommendation_id)
        given_ids += ids(answer)
    assert len(given_ids) == len(set(given_ids)) == 29


def test_asking_twice_for_a_page_gives_the_same(akin):
    first = akin.recommender.recommend(RecommendRequest(user_id="new", limit=5))
    again = [ids(akin.recommender.next_page(first.recommendation_id)) for _ in range(2)]
    assert again[0] == again[1]


def test_an_unknown_page_has_expired(akin):
    with pytest.raises(RecommendationExpiredError):
        akin.recommender.next_page("nothing")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (RecommendRequest(user_id="a", strategy="magic"), "unknown_strategy"),
        (RecommendRequest(user_id="a", explain=True, reasons=0), "invalid_reasons"),
        (RecommendRequest(user_id="a", limit=0), "invalid_limit"),
        (RecommendRequest(user_id="a", limit=10**9), "invalid_limit"),
        (RecommendRequest(user_id="a", fields=("vector",)), "unknown_field"),
        (RecommendRequest(user_id="a\0"), "user_id_unprintable"),
        (RecommendRequest(user_id="a", filter={"eq": {"publisher": "x"}}), "undeclared_attribute"),
    ],
)
def test_what_does_not_fit_is_refused(akin, request_, code):
    with pytest.raises(InvalidInputError) as refused:
        akin.recommender.recommend(request_)
    assert refused.value.code == code


def test_min_score_holds_for_every_source(akin):
    akin.add_events([event(user, "i7") for user in ("a", "b")] + [event("a", "i8")])
    for user in ("a", "new"):
        answer = akin.recommender.recommend(RecommendRequest(user_id=user, limit=30, min_score=0.6))
        assert all(one.score >= 0.6 for one in answer.items)


def test_answers_are_logged_with_their_id(akin):
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann"))
    akin.log.flush()
    assert akin.users.erase("ann").recommendations == 1
    assert answer.recommendation_id


def learn(akin):
    train_live(akin.settings, akin.ledger)
    place_taste(akin.ledger, akin.index)


@pytest.fixture
def learned(tmp_path):
    """Whoever likes i0 likes i1 (another topic), and so on in pairs; i20 to i29 have no events."""
    with installation(tmp_path, taste_least_users=2, taste_text_share=0) as made:
        made.add_items([item(n, year=2000 + n) for n in range(30)])
        made.add_events([event(f"v{n}{k}", f"i{n + m}") for n in range(0, 20, 2) for m in (0, 1) for k in range(3)])
        learn(made)
        yield made


def test_by_taste_a_user_gets_what_others_liked_with_it(learned):
    learned.add_events([event("ann", "i0")])
    for strategy in ("taste", "blend", "auto"):
        answer = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=3, strategy=strategy))
        assert answer.strategy == {"auto": "blend"}.get(strategy, strategy)
        assert ids(answer)[0] == "i1"
        assert answer.items[0].source == answer.strategy


def test_a_blend_goes_on_with_what_reads_alike(learned):
    learned.add_events([event("ann", "i0")])
    answer = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=8))
    assert {int(item_id[1:]) % 3 for item_id in ids(answer)[1:]} == {0}


def test_what_taste_does_not_find_is_filled_up_and_labelled(learned):
    learned.add_events([event("ann", "i0")])
    answer = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=29, strategy="taste"))
    sources = [one.source for one in answer.items]
    assert len(set(ids(answer))) == 29
    assert sources == sorted(sources, key=["taste", "popular", "catalogue"].index)
    assert set(sources) == {"taste", "popular", "catalogue"}


def test_what_fills_up_has_the_scores_of_the_same_strategy(learned):
    learned.add_events([event("ann", "i0"), event("ann", "i4", "dislike")])  # i5 goes with i4
    wanted = RecommendRequest(user_id="ann", limit=29, strategy="taste", explain=True)
    answer = learned.recommender.recommend(wanted)
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert answer.items[0].score > 0 > answer.items[-1].score
    assert ids(answer)[-1] == "i5"
    assert all(explained_score(one) == pytest.approx(one.score, abs=1e-5) for one in answer.items)
    assert len(learned.recommender.recommend(replace(wanted, min_score=0.0)).items) == 27


def test_every_page_of_a_blend_has_its_scores(learned):
    learned.add_events([event("ann", "i0"), event("ann", "i2")])
    whole = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=28))
    score = {one.item_id: one.score for one in whole.items}
    answer = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=4))
    shown = list(answer.items)
    while answer.has_next:
        answer = learned.recommender.next_page(answer.recommendation_id)
        assert answer.strategy == "blend"
        shown += answer.items
    assert {one.item_id for one in shown} == set(score)
    assert [one.score for one in shown] == pytest.approx([score[one.item_id] for one in shown], abs=1e-5)


def test_a_page_goes_on_as_it_began_when_the_user_did_something_meanwhile(learned):
    first = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=4))
    learned.add_events([event("ann", "i0")])
    assert learned.recommender.next_page(first.recommendation_id).strategy == first.strategy == "popular"


def test_without_trained_items_in_the_history_the_text_answers(learned):
    learned.add_items([item(40, topic="crime")])
    learned.add_events([event("ann", "i40")])
    assert learned.recommender.recommend(RecommendRequest(user_id="ann")).strategy == "interests"
    assert learned.recommender.recommend(RecommendRequest(user_id="ann", strategy="taste")).strategy == "popular"


def test_when_the_weights_are_gone_the_text_answers(learned):
    learned.add_events([event("ann", "i0")])
    learned.ledger.taste.replace(no_model())
    place_taste(learned.ledger, learned.index)
    assert learned.recommender.recommend(RecommendRequest(user_id="ann")).strategy == "interests"


def test_a_blends_reasons_name_every_past_event_once(learned):
    learned.add_events([event("ann", "i0"), event("ann", "i4", "view"), event("ann", "i7", "dislike")])
    plain = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=6))
    answer = learned.recommender.recommend(RecommendRequest(user_id="ann", limit=6, explain=True, fields=("title",)))
    assert ids(answer) == ids(plain)
    for one, unexplained in zip(answer.items, plain.items, strict=True):
        assert one.score == pytest.approx(unexplained.score, abs=1e-5)
        assert explained_score(one) == pytest.approx(one.score, abs=1e-5)
        assert sorted(reason.item_id for reason in one.because) == ["i0", "i4", "i7"]
        assert all(reason.title for reason in one.because)


def test_pages_are_forgotten_after_their_time_and_with_their_user(tmp_path):
    clock = FakeClock()
    pages = Continuations(capacity=2, most_bytes=5_000, seconds=60, clock=clock)
    for name, user in (("a", "ann"), ("b", "bob"), ("c", None)):
        pages.keep(name, name.encode(), user_id=user, begun_at=clock())
    assert pages.get("a") is None
    pages.forget("bob")
    assert pages.get("b") is None
    assert pages.get("c") == b"c"
    pages.keep("d", bytes(5_001), user_id=None, begun_at=clock())
    assert pages.get("c") is None
    pages.keep("e", b"e", user_id=None, begun_at=clock())
    assert pages.get("e") == b"e"
    clock.advance(61)
    assert pages.get("e") is None


def test_a_page_of_an_erased_user_is_kept_only_where_the_request_began_afterwards():
    clock = FakeClock()
    pages = Continuations(seconds=1_800, clock=clock)
    began = pages.now()
    clock.advance(1)
    pages.forget("bob")
    for user, begun_at, kept in (("bob", began, False), ("ann", began, True), ("bob", began + 2, True)):
        pages.keep("f", b"f", user_id=user, begun_at=begun_at)
        assert (pages.get("f") is not None) is kept


class ErasedMeanwhile(Tastes):
    """Reads a history; ann is erased before anything else happens."""

    users = None

    def of_user(self, view, user_id, **options):
        taste = super().of_user(view, user_id, **options)
        self.users.erase("ann")
        return taste


def test_no_page_is_kept_of_a_user_who_is_erased_while_asking(akin):
    akin.add_events([event("ann", "i0"), event("bob", "i0")])
    tastes = ErasedMeanwhile(akin.ledger, akin.settings)
    recommender = Recommender(akin.ledger, akin.live, akin.settings, tastes=tastes)
    tastes.users = Users(akin.ledger, akin.live, tastes.learned, recommender)
    first = recommender.recommend(RecommendRequest(user_id="ann", limit=2))
    assert first.strategy == "interests"
    with pytest.raises(RecommendationExpiredError):
        recommender.next_page(first.recommendation_id)
    other = recommender.recommend(RecommendRequest(user_id="bob", limit=2))
    assert recommender.next_page(other.recommendation_id).items


def test_no_page_follows_an_answer_to_a_user_whom_another_process_erased(akin):
    akin.add_events([event("ann", "i0")])
    first = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=2))
    akin.ledger.users.delete("ann")
    with pytest.raises(RecommendationExpiredError):
        akin.recommender.next_page(first.recommendation_id)


def test_what_is_popular_lately_is_a_part_of_the_score_of_its_own(tmp_path):
    with installation(tmp_path, interests_prior=0.4) as akin:
        akin.add_items([item(n) for n in range(30)])
        akin.add_events([event("ann", "i0")] + [event(user, "i3") for user in "bcd"] + [event("e", "i6")])
        answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=30, explain=True))
    prior = {one.item_id: one.prior for one in answer.items}
    assert prior["i3"] == pytest.approx(0.4)
    assert 0 < prior["i6"] < prior["i3"]
    assert prior["i9"] is None
    assert all(explained_score(one) == pytest.approx(one.score, abs=1e-5) for one in answer.items)


def test_mixed_tastes_are_each_found(akin):
    akin.add_events([event("ann", item_id) for item_id in ("i0", "i3", "i6", "i1", "i4", "i7")])
    answer = akin.recommender.recommend(RecommendRequest(user_id="ann", limit=8, strategy="interests"))
    assert {int(item_id[1:]) % 3 for item_id in ids(answer)} == {0, 1}
