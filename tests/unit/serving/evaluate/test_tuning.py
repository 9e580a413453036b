"""The search over settings: what it may look at, what it finds, and that it says when it finds nothing."""

import tomllib
from dataclasses import replace
from typing import get_args
from zlib import crc32

import numpy as np

from ingest.scoring import BlendWeights
from ingest.settings import KeepRule, Settings
from ingest.taste.blending import Choice
from ingest.taste.keeping import Keep
from ingest.taste.model import TasteModel
from serving.evaluate.progress import silent
from serving.evaluate.split import split_events
from serving.evaluate.tune import as_json, as_toml
from serving.evaluate.tuning import SEARCHED, tune
from serving.evaluate.validation import Outcome, Validation
from tests.catalogues import KINDS, drawn
from tests.unit.serving.evaluate.examples import likes

GROUPS, EACH = 8, 12
ITEMS = [f"i{number}" for number in range(GROUPS * EACH)]
NO_TEXT = np.zeros((len(ITEMS), 0), dtype=np.float32)


def events_of(users, seed=1):
    """Everybody likes items of one group, and now and then one of any."""
    rng = np.random.default_rng(seed)
    given = []
    for user in range(users):
        group = np.arange(EACH) + EACH * (user % GROUPS)
        liked = [*rng.permutation(group)[:9].tolist(), *rng.integers(0, len(ITEMS), 3).tolist()]
        given += likes(f"u{user}", *dict.fromkeys(f"i{number}" for number in rng.permutation(liked)))
    return given


def tuned(events, minutes=10.0, vectors=lambda _: NO_TEXT, **settings):
    given = Settings(**{"taste_least_users": 20, **settings})
    split = split_events(events, ITEMS, given)
    return tune(split, ITEMS, vectors, given, users=1_000, minutes=minutes, bars=silent)


def test_bad_settings_are_found_out_and_the_gain_is_measured_on_other_users():
    found = tuned(events_of(400), taste_neighbours=1)
    assert found.found["taste_neighbours"] > 1
    assert {"blend_text", "blend_prior", "taste_kept"} <= set(found.found), "what was chosen with it is written as well"
    assert not {"history_fading", "taste_fading"} & set(found.found), "trainings ask more users than a search"
    assert found.blend.added.low > 0
    assert found.users == 200
    assert "taste_neighbours" in as_toml(found)
    assert Settings(**found.found).taste_neighbours == found.found["taste_neighbours"]


def test_the_settings_that_were_tried_hold_the_present_ones_and_at_most_all_of_the_grid():
    found = tuned(events_of(200))
    assert found.tried[0].settings == {}
    assert len(found.tried) <= 1 + sum(map(len, SEARCHED.values()))
    assert all("half_life_days" not in one.settings for one in found.tried), "events without times do not decay"


def test_every_rule_by_which_weights_are_kept_is_tried_whatever_was_set():
    for rule in get_args(KeepRule):
        tried = {one.settings.get("taste_kept", rule) for one in tuned(events_of(200), taste_kept=rule).tried}
        assert tried == set(get_args(KeepRule))


def test_no_time_leaves_the_present_settings():
    found = tuned(events_of(200), minutes=0)
    assert len(found.tried) == 1
    assert found.found == {} or found.blend.added.low > 0
    assert "stopped by the time" in found.note or found.found
    without_time = tuned(events_of(200), minutes=0, vectors=group_told, attributes={"group": "keyword"})
    assert len(without_time.tried) == 1


def test_too_few_users_are_said_and_the_file_holds_no_setting():
    found = tuned(events_of(30))
    assert found.found == {}
    assert "30 users" in found.note
    assert all(line.startswith("#") for line in as_toml(found).splitlines())
    assert as_json(found)["present_ndcg@10"] is None


def test_what_the_evaluation_holds_out_changes_nothing():
    events = events_of(200)
    split = split_events(events, ITEMS, Settings())
    held = {(user, item) for user, items in split.relevant.items() for item in items}
    shown = [event for event in split.train if (event.user_id, event.item_id) in held]
    assert not shown
    validation = Validation(split, ITEMS, lambda _: NO_TEXT, Settings(taste_least_users=20), 1_000)
    seen = {(user, event.item_id) for user, history in validation.histories.items() for event in history}
    assert not seen & held


def group_told(template):
    """Vectors that say nothing, another nothing for each template, or the group of an item where it is named."""
    vectors = np.random.default_rng(crc32(template.encode())).normal(size=(len(ITEMS), 16)).astype(np.float32)
    if "{group}" in template:
        vectors[:, :GROUPS] += 8 * np.repeat(np.eye(GROUPS, dtype=np.float32), EACH, axis=0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_attribute_that_says_what_people_like_comes_into_the_text_and_one_that_does_not_stays_out():
    declared = {"group": "keyword", "sku": "keyword", "price": "float"}
    found = tuned(events_of(300), vectors=group_told, attributes=declared)
    expected = "{title}\n{group}\n{categories}\n{text}"
    assert found.found["text_template"] == expected
    assert found.interests.added.low > 0
    tried = [one.settings.get("text_template", "") for one in found.tried]
    assert any("{sku}" in template for template in tried)
    assert not any("{price}" in template for template in tried)
    assert "akin reindex" in as_toml(found)
    assert "AKIN_TEXT_TEMPLATE" in as_toml(found)
    written = tomllib.loads(as_toml(found))
    assert written["text_template"] == expected
    assert Settings(attributes=declared, **written).text_template == expected


def test_where_nothing_is_learned_from_events_a_template_is_found_by_texts_alone():
    found = tuned(events_of(300), vectors=group_told, attributes={"group": "keyword"}, taste_least_users=1_000)
    assert "{group}" in found.found["text_template"]
    of_a_blend = {"blend_text", "blend_prior", "taste_neighbours", "taste_kept"}
    assert not of_a_blend & set(found.found), "there was no blend to find them of"


def test_a_template_that_says_nothing_is_not_written_where_the_weights_are_what_gains():
    _, _, histories = drawn(KINDS["news"], seed=3)
    events = [event for history in histories for event in history]
    items = [f"i{number}" for number in range(KINDS["news"].items)]
    settings = Settings(attributes={"sku": "keyword"})
    rng = np.random.default_rng(5)

    def noise(_):
        vectors = rng.normal(size=(len(items), 16)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    split = split_events(events, items, settings, kind="user")
    found = tune(split, items, noise, settings, users=1_000, minutes=10.0, bars=silent)
    assert "text_template" not in found.found


def test_a_template_that_names_an_attribute_already_is_left_alone():
    found = tuned(
        events_of(200),
        vectors=group_told,
        attributes={"group": "keyword"},
        text_template="{title} {group}\n{categories}",
    )
    assert not any("text_template" in one.settings for one in found.tried)


def test_what_confirms_is_told_the_weights_that_were_chosen():
    settings = Settings(taste_least_users=20)
    validation = Validation(split_events(events_of(200), ITEMS, settings), ITEMS, lambda _: NO_TEXT, settings, 1_000)
    found = validation.choose({})
    few, many = Keep(50), Keep(100)
    nothing = TasteModel(item_ids=tuple(ITEMS), incoming=found.models[many].incoming * 0)
    for chosen, knows in ((few, False), (many, True)):
        outcome = Outcome(found.ndcg, Choice(BlendWeights(), chosen), {few: nothing, many: found.models[many]})
        assert (validation.confirm({}, outcome).blend.mean() > 0.3) == knows


def test_where_tastes_wander_a_search_lets_histories_fade_and_confirms_by_what_it_chose():
    rng = np.random.default_rng(6)
    events = []
    for user in range(300):
        groups = rng.permutation(GROUPS)[:2]
        events += likes(f"u{user}", *(f"i{EACH * group + n}" for group in groups for n in rng.permutation(EACH)[:11]))
    given = Settings(taste_least_users=20)
    validation = Validation(split_events(events, ITEMS, given), ITEMS, lambda _: NO_TEXT, given, 1_000)

    found = validation.choose({})

    assert found.choice.weights.fading > 0
    whole = found._replace(choice=found.choice._replace(weights=replace(found.choice.weights, fading=0.0)))
    assert validation.confirm({}, found).blend.mean() > validation.confirm({}, whole).blend.mean()
    fixed = Validation(
        split_events(events, ITEMS, given),
        ITEMS,
        lambda _: NO_TEXT,
        given.model_copy(update={"history_fading": 0.0}),
        1_000,
    )
    assert found.ndcg.blend.mean() > fixed.choose({}).ndcg.blend.mean()


def test_a_search_trains_with_the_fadings_that_a_training_would_learn(monkeypatch):
    rng = np.random.default_rng(6)
    events = []
    for user in range(300):
        groups = [(user + n) % GROUPS for n in range(3)]
        events += likes(f"u{user}", *(f"i{EACH * group + n}" for group in groups for n in rng.permutation(EACH)[:7]))
    given = Settings(taste_least_users=20)
    split = split_events(events, ITEMS, given)
    asked = []

    def searched(fading):
        def learn(item_ids, texts, histories, settings, **_):
            asked.append(settings.taste_ridge)
            return Choice(BlendWeights(fading=0.5), Keep(50), fading)

        monkeypatch.setattr("serving.evaluate.validation.learn", learn)
        validation = Validation(split, ITEMS, lambda _: NO_TEXT, given, 1_000)
        return validation, validation.choose({})

    near_alone, near = searched(1.0)
    near_alone.choose({"taste_ridge": 2.0})
    _, whole = searched(0.0)

    assert asked == [given.taste_ridge] * 2, "once for a search, by the present settings"
    assert (near.choice.taste_fading, whole.choice.taste_fading) == (1.0, 0.0)
    assert near.choice.weights.fading == whole.choice.weights.fading == 0.5
    keep = near.choice.keep
    assert abs(near.models[keep].incoming - whole.models[keep].incoming).max() > 0.01


def test_what_a_training_learns_with_other_settings_is_confirmed_with_its_own_fadings(monkeypatch):
    given = Settings(taste_least_users=20)
    validation = Validation(split_events(events_of(200), ITEMS, given), ITEMS, lambda _: NO_TEXT, given, 1_000)
    learned = Choice(BlendWeights(), Keep(50), 0.0)
    monkeypatch.setattr("serving.evaluate.validation.learn", lambda *_, **__: learned)
    whole = validation.choose({})
    plain = validation.confirm({}, whole, as_trained=True).blend

    monkeypatch.setattr("serving.evaluate.validation.learn", lambda *_, **__: learned._replace(taste_fading=1.0))
    changed = validation.confirm({"taste_least_users": 21}, whole, as_trained=True).blend

    assert (changed != plain).any()
    assert (validation.confirm({}, whole, as_trained=True).blend == plain).all(), "what was learned once is not again"
