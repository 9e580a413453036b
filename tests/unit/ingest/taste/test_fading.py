"""How quickly histories and what they teach fade is learned from what users did last, where their order is of time."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ingest.events import Event
from ingest.scoring import BlendWeights
from ingest.settings import Settings
from ingest.taste.blending import learn
from ingest.taste.choosing import LEAST_SAMPLE, surely_best
from ingest.taste.cuts import Cut
from ingest.taste.fading import FADINGS, TASTE_FADINGS, best_pair, commonest, with_fadings
from ingest.taste.interactions import collect
from ingest.taste.judge import Judge
from ingest.taste.keeping import Keep
from ingest.taste.model import train
from ingest.taste.order import agreement, is_of_the_file
from ingest.taste.texts import Texts

ITEMS = [f"i{n:03}" for n in range(120)]
LIKED_SHARE = 0.4
PARTS = 6  # kinds of items; a user likes one kind after another
START = datetime(2026, 1, 1, tzinfo=UTC)


def wandering(users=300, seed=3):
    """Histories of users who stay with a kind for a while, and end with another than they began with."""
    chance = np.random.default_rng(seed)
    for _ in range(users):
        kinds = chance.permutation(PARTS)[:3]
        yield [int(kind * 20 + item) for kind in kinds for item in chance.permutation(20)[:8]]


def event(user, n, item, timestamp):
    known = ITEMS[item] if item < len(ITEMS) else f"unknown{item}"
    return Event(event_id=f"{user}-{n}", user_id=f"u{user}", item_id=known, type="like", timestamp=timestamp)


def in_turn(users=300, seed=3):
    """Histories of users who go through the kinds in one order: what is met together is not of one kind, what is near is."""
    chance = np.random.default_rng(seed)
    for _ in range(users):
        first = chance.integers(PARTS)
        kinds = [(first + n) % PARTS for n in range(3)]
        yield [int(kind * 20 + item) for kind in kinds for item in chance.permutation(20)[:8]]


def aimless(users=300, seed=3):
    """Histories in any order of users who like three kinds. No kind is used up: that would tell what is next."""
    chance = np.random.default_rng(seed)
    for _ in range(users):
        kinds = chance.permutation(PARTS)[:3]
        liked = [int(kind * 20 + item) for kind in kinds for item in range(20) if chance.random() < LIKED_SHARE]
        yield chance.permutation(liked).tolist()


def fading(rows, **given):
    """How quickly histories fade by what is learned of these."""
    return learned(rows, **given).weights.fading


def learned(rows, *, timed=False, timed_users=0, **settings):
    """What is learned of these histories; with `timed_users`, of as many more whose events have times."""
    settings = Settings(**settings)
    rows = list(rows)
    times = [START + timedelta(hours=n) if timed else None for n in range(100)]
    histories = [[event(user, n, item, times[n]) for n, item in enumerate(row)] for user, row in enumerate(rows)]
    for user, row in enumerate(rows[:timed_users], start=len(rows)):
        histories.append([event(user, n, item, START + timedelta(hours=n)) for n, item in enumerate(reversed(row))])
    texts = Texts(np.zeros((len(ITEMS), 0), np.float32))
    present = START + timedelta(hours=24) if timed or timed_users else None
    found = learn(ITEMS, texts, lambda: histories, settings, present=present, since=None)
    assert found is not None
    return found


@pytest.mark.parametrize("timed", [True, False])
def test_where_tastes_wander_what_was_met_last_counts_most(timed):
    assert fading(wandering(), timed=timed) > 0


@pytest.mark.parametrize("timed", [True, False])
def test_where_what_is_near_belongs_together_it_teaches_most(timed):
    assert learned(in_turn(), timed=timed).taste_fading > 0


def test_fadings_are_learned_where_the_settings_say_everything_else():
    settings = {"blend_text": 0.1, "blend_prior": 0.2, "interests_prior": 0.3, "prior_half_life_days": 9.0}
    found = learned(wandering(), **settings, taste_neighbours=20, taste_kept="shared")
    assert found.keep == Keep(20, "shared")
    assert found.weights == BlendWeights(
        text=0.1, prior=0.2, interests_prior=0.3, half_life_days=9.0, fading=found.weights.fading
    )
    assert found.weights.fading > 0
    assert learned(in_turn(), **settings, taste_neighbours=20).taste_fading > 0


def test_where_the_order_says_nothing_all_counts_alike():
    found = learned(aimless())
    assert (found.weights.fading, found.taste_fading) == (0, 0)


def test_an_order_of_the_file_is_none_of_time():
    """What comes last is like what comes before it, but only because the file is sorted."""
    found = learned([sorted(row) for row in wandering()])
    assert (found.weights.fading, found.taste_fading) == (0, 0)
    assert fading([sorted(row) for row in wandering()], timed=True) > 0


def test_an_order_of_the_file_stays_one_when_newer_events_have_times():
    rows = [sorted(row) for row in wandering()]
    assert fading(rows, timed_users=30) == 0
    assert fading(wandering(), timed_users=30) > 0


def test_unknown_items_are_not_counted_as_met():
    rows = [[*row, *range(len(ITEMS), len(ITEMS) + 30)] for row in wandering()]
    assert fading(rows) == fading(wandering()) > 0


def test_what_is_drawn_by_chance_is_asked_of_whole_histories(monkeypatch):
    asked = []

    class Watched(Judge):
        def __init__(self, cut, texts, settings):
            asked.append((cut.by_chance, settings.history_fading))
            super().__init__(cut, texts, settings)

    monkeypatch.setattr("ingest.taste.blending.Judge", Watched)
    found = fading(wandering())
    assert asked == [(False, found), (True, 0)]


def test_too_few_users_tell_nothing():
    clear = np.tile(np.linspace(0.1, 1, len(FADINGS)), (LEAST_SAMPLE, 1))
    clear += np.random.default_rng(1).normal(0, 0.01, clear.shape)
    for histories, expected in ((len(FADINGS), (0, len(FADINGS) - 1)), (1, (len(FADINGS) - 1, 0))):
        assert best_pair([clear], histories) == expected
        assert best_pair([clear[1:]], histories) == (0, 0)
    assert best_pair([], 3) == (0, 0)


def test_of_what_is_not_told_apart_the_least_is_taken():
    chance = np.random.default_rng(2)
    gains = np.zeros((400, len(FADINGS)))
    gains[:, 3:] = 0.3
    gains += chance.normal(0, 0.2, gains.shape)
    gains[:, 6] += 0.001 - gains[:, 6].mean() + gains[:, 3:].mean(axis=0).max()  # best by a hair
    assert surely_best([gains], 2.0) == 6
    assert 3 <= best_pair([gains], len(FADINGS))[1] < 6
    assert 3 <= best_pair([gains], 1)[0] < 6


def test_what_fading_histories_gains_does_not_speak_for_fading_what_they_teach():
    chance = np.random.default_rng(7)
    histories, tastes = len(FADINGS), len(TASTE_FADINGS)
    clear, draws = np.tile(np.linspace(0.2, 0.3, histories), tastes), 200
    without = [clear + of_users(chance, 300, tastes, histories) for _ in range(draws)]
    assert np.mean([best_pair([gains], histories)[0] > 0 for gains in without]) < 0.12
    harmful = [gains - np.repeat([0, 1, 1, 1, 1], histories) * 0.02 for gains in without]
    assert np.mean([best_pair([gains], histories)[0] > 0 for gains in harmful]) < 0.02
    assert all(best_pair([gains], histories)[1] > 0 for gains in without)
    better = clear + np.repeat([0.0, 0.01, 0.05, 0.05, 0.0], histories)
    found = [best_pair([better + of_users(chance, 300, tastes, histories)], histories) for _ in range(20)]
    assert {taste for taste, _ in found} <= {2, 3}
    assert 2 in {taste for taste, _ in found}


def of_users(chance, users, tastes, histories):
    """What is each user's own: the same for all pairs, for those of one taste, and for each pair."""
    of_pair = chance.normal(0, 0.03, (users, tastes, histories))
    of_taste = chance.normal(0, 0.05, (users, tastes, 1))
    return (chance.normal(0, 0.2, (users, 1, 1)) + of_taste + of_pair).reshape(users, -1)


def test_histories_are_drawn_evenly_where_there_are_many():
    cut = Cut(ITEMS, None, Settings())
    list(cut.training([event(user, n, item, None) for n, item in enumerate([user, 2 * user])] for user in range(1, 51)))
    assert [row.tolist() for row in cut.untimed(100)] == [[user, 2 * user] for user in range(1, 51)]
    few = [row.tolist() for row in cut.untimed(10)]
    assert few == [[user, 2 * user] for user in range(1, 51, 5)]


def test_what_the_settings_say_is_not_learned():
    assert fading(wandering(), history_fading=0.0) == 0
    assert fading(wandering(), history_fading=0.05) == 0.05
    assert learned(in_turn(), history_fading=1.0).taste_fading > 0
    found = learned(wandering(), taste_fading=0.07)
    assert found.weights.fading > 0
    assert found.taste_fading == 0.07


def test_nothing_is_trained_to_learn_what_the_settings_say(monkeypatch):
    monkeypatch.setattr("ingest.taste.fading.train", None)
    settings = Settings(history_fading=0.3, taste_fading=0.2)
    assert with_fadings([(None, None)], None, settings) == settings


def test_the_commonest_items_and_some_of_the_users_say_what_all_would(monkeypatch):
    monkeypatch.setattr("ingest.taste.fading.COMMONEST", 80)
    monkeypatch.setattr("ingest.taste.fading.MOST_USERS", 200)
    found = learned(in_turn())
    assert found.taste_fading > 0
    assert found.weights.fading > 0


def test_the_cuts_are_trained_on_with_the_fading_that_was_learned(monkeypatch):
    """Weights of a blend are chosen beside the taste that will be."""
    asked = []

    def watched(interactions, texts, settings, choices):
        asked.append(settings.taste_fading)
        return train(interactions, texts, settings, choices)

    monkeypatch.setattr("ingest.taste.blending.train", watched)
    found = learned(in_turn())
    assert found.taste_fading > 0
    assert asked == [found.taste_fading] * 2


def test_the_commonest_items_are_those_that_most_histories_hold():
    rows = [[0, 1, 2], [1, 2], [2, 1, 3], [3, 1]]
    histories = [[event(user, n, item, None) for n, item in enumerate(row)] for user, row in enumerate(rows)]
    interactions = collect(ITEMS[:5], histories, None, Settings())
    assert commonest(interactions, 2).tolist() == [1, 2]
    assert commonest(interactions, 10).tolist() == [0, 1, 2, 3, 4]


def test_two_users_agree_on_an_order_always_by_a_file_and_half_of_the_time_by_chance():
    rows = [np.array(row) for row in wandering()]
    assert agreement([np.sort(row) for row in rows], len(ITEMS)) == 1
    assert agreement([np.sort(row)[::-1] for row in rows], len(ITEMS)) == 1
    chance = np.random.default_rng(5)
    assert agreement([chance.permutation(row) for row in rows], len(ITEMS)) == pytest.approx(0.5, abs=0.02)
    assert is_of_the_file([np.sort(row) for row in rows], len(ITEMS))
    assert not is_of_the_file(rows, len(ITEMS))


def test_an_item_met_again_counts_where_it_was_met_first():
    assert agreement([np.array([0, 1, 0, 1]), np.array([0, 1])], 2) == 1


@pytest.mark.parametrize("rows", [[], [[]], [[0]], [[0, 1], [2, 3]]])
def test_where_no_two_users_met_the_same_two_items_nothing_is_known(rows):
    assert agreement([np.array(row, np.int64) for row in rows], 4) == 0
