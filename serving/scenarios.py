"""Named sets of query settings: what a scenario says counts where the request itself says nothing."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ingest.errors import InvalidInputError, SettingsError
from ingest.index.filter_parser import parse_filter
from ingest.settings import Settings
from serving.request import BoostedItems, RecommendRequest, check_request

_SIMPLE = ("limit", "strategy", "exclude_seen", "diversity", "max_per", "min_score", "explore")


def in_scenario(
    request: RecommendRequest, name: str | None, settings: Settings, *, given: Collection[str]
) -> RecommendRequest:
    """The request with the scenario's settings for all that is not in `given`, the names that it set itself.

    Both filters must pass; a request that relaxes relaxes only its own. Raises InvalidInputError naming the scenarios
    that there are.
    """
    if name is None:
        return request
    scenario = settings.scenarios.get(name)
    if scenario is None:
        known = ", ".join(sorted(settings.scenarios)) or "none; AKIN_SCENARIOS declares them"
        raise InvalidInputError("unknown_scenario", f"scenarios here: {known}", "scenario")
    said = scenario.model_dump(exclude_unset=True)
    changes: dict[str, Any] = {key: said[key] for key in _SIMPLE if key in said and key not in given}
    if scenario.relax and "relax" not in given:  # then the scenario's filter may go too
        filters = [one for one in (scenario.filter, request.filter) if one is not None]
        changes["filter"] = {"and": filters} if len(filters) > 1 else next(iter(filters), None)
        changes["relax"] = tuple(scenario.relax)
    else:
        changes["required"] = scenario.filter
    boosts = (
        BoostedItems(by=boost.by, item_ids=tuple(boost.item_ids), filter=boost.filter) for boost in scenario.boosts
    )
    return replace(request, **changes, pinned=tuple(scenario.pinned), boosts=tuple(boosts))


def check_scenarios(settings: Settings) -> None:
    """Raise SettingsError naming the scenario that every request by it would be refused for, and why."""
    usual = RecommendRequest(limit=min(RecommendRequest.limit, settings.max_limit))
    for name, scenario in settings.scenarios.items():
        try:
            check_request(in_scenario(usual, name, settings, given=()), settings)
            for tree in (scenario.filter, *(boost.filter for boost in scenario.boosts)):
                parse_filter(tree, settings.attributes)
        except InvalidInputError as error:
            raise SettingsError(f"scenario {name}: {error.detail}") from error
