"""What an evaluation asks akin: every strategy, strategies without one of their parts, and the owner's scenarios."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.settings import Settings
from serving.evaluate.judge import LONGEST
from serving.request import BLEND, INTERESTS, STRATEGIES, RecommendRequest
from serving.scenarios import in_scenario

SCENARIO = "scenario:"  # before the name of a scenario, as no strategy is called


@dataclass(frozen=True, kw_only=True)
class Question:
    """What each user is asked for, under settings with those values changed."""

    request: RecommendRequest
    changed: Mapping[str, float] = field(default_factory=dict)


def questions(settings: Settings) -> Mapping[str, Question]:
    """By name in the report. Lists are of one length and without seen items, whatever a scenario says of either."""

    def plain(strategy: str, **changed: float) -> Question:
        return Question(request=RecommendRequest(strategy=strategy, limit=LONGEST), changed=changed)

    def scenario(name: str) -> Question:
        request = in_scenario(RecommendRequest(limit=LONGEST), name, settings, given=("limit", "exclude_seen"))
        return Question(request=request)

    return {
        **{name: plain(name) for name in STRATEGIES},
        "text": plain(INTERESTS, interests_prior=0.0),
        "blend-without-prior": plain(BLEND, blend_prior=0.0),
        "blend-without-text": plain(BLEND, blend_text=0.0),
        **{SCENARIO + name: scenario(name) for name in settings.scenarios},
    }
