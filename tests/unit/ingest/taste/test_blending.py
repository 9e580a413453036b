"""The weights of a blend are learned from what users liked last."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ingest.events import Event
from ingest.scoring import BlendWeights
from ingest.settings import Settings
from ingest.taste.blending import better, learn, learn_blend, left_by, told, trained_on
from ingest.taste.cuts import SAMPLE, Cut
from ingest.taste.judge import Judge, Parts
from ingest.taste.keeping import Keep
from ingest.taste.texts import Texts

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = [f"i{n}" for n in range(60)]
FEW, MORE, SHARED = Keep(50), Keep(100), Keep(100, "shared")


def learned(histories, text=None, **settings):
    settings = Settings(**{"taste_least_users": 2, **settings})
    times = [event.timestamp for history in histories for event in history if event.timestamp]
    since = sorted(times)[int(0.8 * len(times))] if times else None
    text = np.zeros((len(ITEMS), 0), np.float32) if text is None else text
    present = max(times, default=None)
    found = learn(ITEMS, Texts(text), lambda: histories, settings, present=present, since=since)
    return None if found is None else found.weights


def history(user, items, at=lambda n: None):
    return [
        Event(event_id=f"{user}-{n}", user_id=user, item_id=f"i{item}", type="like", timestamp=at(n))
        for n, item in enumerate(items)
    ]


def test_an_event_counts_half_after_the_half_life_and_all_alike_where_none_has_a_time():
    timed = Cut(ITEMS, START, Settings())
    list(
        timed.training(
            [
                history("a", [1], lambda _: START - timedelta(days=7)),
                *(history(user, [2], lambda _: START) for user in "bc"),
            ]
        )
    )
    found = timed.priors(7)
    assert found[[1, 2]] == pytest.approx(np.log1p([0.5, 2]) / np.log1p(2))
    untimed = Cut(ITEMS, None, Settings())
    list(untimed.training([history("a", [1]), history("b", [2]), history("c", [2])]))
    assert untimed.priors(7)[[1, 2]] == pytest.approx(np.log1p([1, 2]) / np.log1p(2))


def test_one_event_after_a_pause_does_not_make_all_others_old():
    late = START + timedelta(days=4_000)
    cut = Cut(ITEMS, START, Settings())
    histories = [history(f"u{n}", [1], lambda _: START) for n in range(200)]
    list(cut.training([*histories, history("late", [2], lambda _: late)]))
    assert cut.priors(7)[[1, 2]] == pytest.approx(np.log1p([200, 1]) / np.log1p(200))


def test_where_popularity_says_nothing_it_gets_no_weight():
    rng = np.random.default_rng(2)
    histories = []
    for user in range(200):
        group = user % 6
        histories.append(history(f"u{user}", rng.permutation(np.arange(10 * group, 10 * group + 10))[:8]))
    assert learned(histories).prior <= 0.02


def test_where_everybody_likes_the_newest_items_recent_popularity_counts():
    rng = np.random.default_rng(3)
    histories = []
    for user in range(200):
        days = np.sort(rng.uniform(0, 57, size=9))
        items = list(dict.fromkeys(min(59, int(day) + int(rng.integers(0, 3))) for day in days))
        histories.append(history(f"u{user}", items, lambda n, days=days: START + timedelta(days=float(days[n]))))
    text = rng.normal(size=(len(ITEMS), 8)).astype(np.float32)
    found = learned(histories, text)
    assert found.prior >= 0.1
    assert found.interests_prior > 0
    assert found.half_life_days <= 7
    alone = learned(histories, text, taste_least_users=10_000)
    assert (alone.text, alone.prior) == (BlendWeights().text, BlendWeights().prior)
    assert alone.interests_prior > 0
    fixed = learned(histories, prior_half_life_days=30, blend_prior=0.02)
    assert (fixed.half_life_days, fixed.prior) == (30, 0.02)


def test_what_a_text_is_worth_stays_where_none_was_read():
    relevant = np.arange(10) == 9
    popular = {"taste": np.zeros(10), "priors": {14.0: relevant.astype(float)}, "relevant": relevant, "sought": 1}
    for with_taste in (True, False):
        found = learn_blend([{FEW: [Parts(text=np.zeros(10), **popular)] * 60}], Settings(), with_taste=with_taste)
        assert (found.weights.text, found.weights.interests_prior) == (BlendWeights().text, 0.0)
        assert (found.weights.prior > 0) == with_taste
    misled = learn_blend([{FEW: [Parts(text=-relevant.astype(float), **popular)] * 60}], Settings(), with_taste=True)
    assert misled.weights.text == 0.0
    assert misled.weights.interests_prior > 0


def test_weights_that_serve_both_cuts_are_preferred_to_those_that_serve_one():
    present, first, both, second = (BlendWeights(text=text) for text in (0.0, 0.1, 0.2, 0.3))
    # Where the item that is sought comes on either cut: the mean of the gains would be largest for `first`.
    places = {present: (9, 9), first: (0, 8), both: (1, 1), second: (8, 0)}

    def users(cut):
        relevant = np.arange(10) == 0
        part = Parts(taste=np.full(10, float(cut)), text=np.zeros(10), priors={}, relevant=relevant, sought=1)
        return [part] * 60

    def score(parts, weights):
        ahead = places[weights][int(parts.taste[0])]
        return np.array([0.0, *(1.0 if n < ahead else -1.0 for n in range(9))])

    assert better([users(0), users(1)], present, [first, both, second], score) == both
    assert better([users(0)], present, [first, both, second], score) == first


def test_how_quickly_popularity_fades_the_cut_in_time_says_alone():
    relevant = np.arange(10) == 0

    def users(right, wrong):
        priors = {right: relevant.astype(float), wrong: (~relevant).astype(float), 14.0: np.zeros(10)}
        part = Parts(taste=np.zeros(10), text=-relevant.astype(float), priors=priors, relevant=relevant, sought=1)
        return [part] * 60

    last, now = users(30.0, 0.25), users(0.25, 30.0)
    for with_taste in (True, False):
        assert learn_blend([{FEW: last}], Settings(), with_taste=with_taste).weights.half_life_days == 30.0
        assert learn_blend([{FEW: last}, {FEW: now}], Settings(), with_taste=with_taste).weights.half_life_days == 0.25


def test_other_weights_of_an_item_are_kept_where_that_ranks_better_by_more_than_chance():
    relevant = np.arange(10) == 0

    def users(right, of=60):
        """Those of so many users are told the right item first."""
        none = {"text": np.zeros(10), "priors": {14.0: np.zeros(10)}, "relevant": relevant, "sought": 1}
        return [Parts(taste=(1.0 if n in right else -1.0) * relevant, **none) for n in range(of)]

    def chosen(*cuts):
        return learn_blend(cuts, Settings(), with_taste=True).keep

    def told(few, more, shared):
        return {FEW: few, MORE: more, SHARED: shared}

    clearly = told(users(range(20)), users(range(30)), users(range(40)))
    assert chosen(clearly) == SHARED
    assert chosen(told(users(range(20)), users(range(40)), users(range(30)))) == MORE
    assert chosen(told(users(range(20)), users(range(10, 30)), users(range(19, 40)))) == FEW, "by chance"
    assert chosen(clearly, told(users(range(40)), users(range(20)), users(range(20)))) == FEW
    assert chosen(told(users(range(20)), users(range(21)), users(range(22)))) == SHARED, "1.4 standard errors"
    assert chosen(clearly, told(users(range(20), of=20), users([], of=20), users([], of=20))) == SHARED
    assert chosen(clearly, {FEW: users(range(20))}) == FEW, "the others were not asked everywhere"


def test_an_item_that_was_seen_before_the_profile_begins_is_not_ranked():
    cut = Cut(ITEMS, None, Settings(history_limit=2))
    list(cut.training([history("a", range(10))]))
    judge = Judge(cut, Texts(np.zeros((len(ITEMS), 0), np.float32)), Settings(history_limit=2))
    (parts,) = judge.parts(None)
    assert [event.item_id for event in cut.users[0].rest] == ["i6", "i7"]
    assert len(parts.relevant) == len(ITEMS) - 8, "all but the eight that were met"


def test_too_few_users_say_nothing():
    assert learned([history(f"u{n}", range(8)) for n in range(20)]) is None


def test_a_short_history_is_left_whole_and_a_long_one_loses_its_last_liked_items():
    cut = Cut(ITEMS, None, Settings())
    short, long_ = cut.training([history("a", range(4)), history("b", range(10))])
    assert len(short) == 4
    assert [event.item_id for event in long_] == [f"i{n}" for n in range(8)]
    assert [held.user_id for held in cut.users] == ["b"]
    assert cut.users[0].liked == {"i8", "i9"}


def test_a_cut_in_time_holds_out_what_came_later_and_was_not_known_before():
    cut = Cut(ITEMS, None, Settings(), since=START + timedelta(days=6))
    daily = [history("a", [0, 1, 2, 3, 4, 5, 6, 0], lambda n: START + timedelta(days=n))]
    assert [len(rest) for rest in cut.training(daily)] == [6]
    assert [held.liked for held in cut.users] == [{"i6"}]
    late = Cut(ITEMS, None, Settings(), since=START)
    list(late.training(daily))
    assert not late.users


def test_a_cut_by_chance_holds_out_as_many_whatever_the_order_and_others_for_everybody():
    histories = [history(f"u{n}", range(10)) for n in range(60)]
    forwards, backwards = (Cut(ITEMS, None, Settings(), by_chance=True) for _ in range(2))
    kept = list(forwards.training(histories))
    list(backwards.training([given[::-1] for given in histories]))

    assert {len(rest) for rest in kept} == {8}
    assert all([event.item_id for event in rest] == sorted(event.item_id for event in rest) for rest in kept)
    assert [held.liked for held in forwards.users] == [held.liked for held in backwards.users]
    often = np.bincount([int(item_id[1:]) for held in forwards.users for item_id in held.liked], minlength=10)
    assert often.min() > 0
    assert often.max() < 30


def test_what_the_order_of_histories_without_times_says_is_held_against_chance():
    """A file whose histories end with what is popular asks for popularity; what else people like, taste finds."""
    rng = np.random.default_rng(4)
    popular = np.arange(45, 60)
    casual = [history(f"c{n}", rng.choice(popular, 4, replace=False)) for n in range(300)]
    fond = [
        history(
            f"f{n}", [*rng.choice(np.arange(15), 8, replace=False) + n % 3 * 15, *rng.choice(popular, 2, replace=False)]
        )
        for n in range(300)
    ]
    settings, texts = Settings(taste_least_users=2), Texts(np.zeros((len(ITEMS), 0), np.float32))

    def prior_by(*cuts):
        models = [trained_on(left_by(cut, [*casual, *fond], settings), texts, settings) for cut in cuts]
        samples = [told(Judge(cut, texts, settings), model, settings) for cut, model in zip(cuts, models, strict=True)]
        return learn_blend(samples, settings, with_taste=True).weights.prior

    by_order, by_chance = prior_by(Cut(ITEMS, None, settings)), prior_by(Cut(ITEMS, None, settings, by_chance=True))

    assert by_chance < learned([*casual, *fond]).prior < by_order


def test_the_sample_is_bounded_and_the_same_whatever_the_order():
    histories = [history(f"u{n}", range(6)) for n in range(SAMPLE + 50)]
    cuts = [Cut(ITEMS, None, Settings()), Cut(ITEMS, None, Settings())]
    for cut, given in zip(cuts, (histories, histories[::-1]), strict=True):
        list(cut.training(given))
    assert len(cuts[0].users) == SAMPLE
    assert [held.user_id for held in cuts[0].users] == [held.user_id for held in cuts[1].users]


def test_the_present_weights_are_a_value():
    assert BlendWeights() == BlendWeights(text=0.04, prior=0.0, interests_prior=0.0, half_life_days=14.0)
