"""Settings that would make every answer nonsense are refused, by the name of the variable."""

import pytest

from ingest.errors import SettingsError
from ingest.settings import load_settings

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"event_weights": {"like": NAN}}, "AKIN_EVENT_WEIGHTS_LIKE"),
        ({"event_weights": {"like": INFINITE}}, "AKIN_EVENT_WEIGHTS_LIKE"),
        ({"half_life_days": NAN}, "AKIN_HALF_LIFE_DAYS"),
        ({"blend_text": INFINITE}, "AKIN_BLEND_TEXT"),
        ({"interests_prior": NAN}, "AKIN_INTERESTS_PRIOR"),
        ({"scenarios": {"home": {"min_score": NAN}}}, "AKIN_SCENARIOS_HOME_MIN_SCORE"),
        ({"scenarios": {"home": {"diversity": 1.5}}}, "AKIN_SCENARIOS_HOME_DIVERSITY"),
        ({"scenarios": {"home": {"explore": 0.9}}}, "AKIN_SCENARIOS_HOME_EXPLORE"),
        ({"scenarios": {"home": {"boosts": [{"by": NAN}]}}}, "AKIN_SCENARIOS_HOME_BOOSTS_0_BY"),
        ({"scenarios": {"home": {"boosts": [{"by": -1}]}}}, "AKIN_SCENARIOS_HOME_BOOSTS_0_BY"),
    ],
)
def test_a_number_that_is_none_is_refused(given, name):
    with pytest.raises(SettingsError, match=f"{name}: "):
        load_settings(**given)


def test_a_weight_from_the_environment_is_checked_alike(monkeypatch):
    monkeypatch.setenv("AKIN_EVENT_WEIGHTS", '{"like": NaN}')
    with pytest.raises(SettingsError, match="AKIN_EVENT_WEIGHTS_LIKE: "):
        load_settings()
