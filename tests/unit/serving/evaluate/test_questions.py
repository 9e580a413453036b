"""What an evaluation asks: the strategies, what they are without a part, and the owner's scenarios."""

from ingest.settings import Settings
from serving.evaluate.questions import questions
from serving.request import STRATEGIES


def test_every_strategy_is_asked_as_it_is() -> None:
    asked = questions(Settings())
    for name in STRATEGIES:
        assert (asked[name].request.strategy, asked[name].changed) == (name, {})


def test_a_part_is_taken_away_by_a_setting() -> None:
    asked = questions(Settings())
    assert asked["text"].changed == {"interests_prior": 0.0}
    assert asked["blend-without-text"].request.strategy == "blend"


def test_a_scenario_is_asked_by_what_it_says_in_lists_as_long_as_all_others() -> None:
    scenario = {"strategy": "mean", "limit": 3, "exclude_seen": False, "diversity": 0.4, "pinned": ["a"]}
    asked = questions(Settings(scenarios={"home": scenario}))
    request, plain = asked["scenario:home"].request, asked["mean"].request
    assert (request.strategy, request.diversity, request.pinned) == ("mean", 0.4, ("a",))
    assert (request.limit, request.exclude_seen) == (plain.limit, plain.exclude_seen) == (20, True)
