"""A scenario that every request would be refused for is found before anybody asks by it."""

from typing import Any

import pytest

from ingest.errors import SettingsError
from ingest.settings import Settings
from serving.scenarios import check_scenarios


def settings_with(**scenario: Any) -> Settings:
    return Settings(attributes={"year": "integer", "tag": "keyword"}, scenarios={"home": scenario})


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ({"max_per": {"categroies": 3}}, "max_per names"),
        ({"max_per": {"year": 3}}, "max_per names"),
        ({"strategy": "best"}, "strategy is one of"),
        ({"limit": 10_000}, "limit must be"),
        ({"filter": {"eq": {"colour": "red"}}}, "colour is not a declared attribute"),
        ({"boosts": [{"filter": {"gte": {"year": "new"}}, "by": 1}]}, "year"),
        ({"relax": ["yaer"]}, "relax may name"),
    ],
)
def test_a_scenario_that_cannot_be_asked_by_is_named(scenario: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"scenario home: .*{said}"):
        check_scenarios(settings_with(**scenario))


def test_a_scenario_in_order_passes() -> None:
    scenario = {"max_per": {"tag": 2}, "filter": {"gte": {"year": 1990}}, "relax": ["year", "min_score"], "limit": 12}

    check_scenarios(settings_with(**scenario))
