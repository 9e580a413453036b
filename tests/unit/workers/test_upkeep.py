"""What the upkeep does by itself, in the only process there is and in one that holds the lease."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.reindex import Reindexer
from ingest.store.ledger import Ledger
from ingest.store.records import LoggedRecommendation
from ingest.trainer import Trainer
from tests.fakes import Installation, installation
from workers.app import CeleryQueue, make_app
from workers.resources import Resources
from workers.upkeep import Alone, Leased, Tenure, Upkeep


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path, reindex_crontab="", keep_log_days=30) as made:
        yield made


@pytest.fixture(params=[lambda _: Alone(), lambda ledger: Leased(ledger.leases)], ids=["alone", "leased"])
def upkeep(request: pytest.FixtureRequest, akin: Installation) -> Upkeep:
    tenure: Callable[[Ledger], Tenure] = request.param
    return upkeep_of(akin, tenure(akin.ledger))


def upkeep_of(akin: Installation, tenure: Tenure, *, rebuilds: bool = True) -> Upkeep:
    reindexer = Reindexer(akin.settings, akin.ledger, akin.index, akin.encoders, lambda _: pytest.fail("not asked"))
    resources = Resources(
        settings=akin.settings,
        ledger=akin.ledger,
        reconciler=akin.reconciler,
        reindexer=reindexer,
        trainer=Trainer(akin.settings, akin.ledger, akin.index),
    )
    return Upkeep(resources, CeleryQueue(make_app(akin.settings)), tenure, rebuilds=rebuilds)


def give_answer(akin: Installation, item_id: str, *, days_ago: float) -> None:
    given = LoggedRecommendation(
        recommendation_id=f"of {item_id}",
        user_id="Ann",
        generation="first",
        strategy="mean",
        item_ids=(item_id,),
        created_at=datetime.now(UTC) - timedelta(days=days_ago),
    )
    akin.ledger.recommendations.log([given])


def logged(akin: Installation) -> set[str]:
    return set(akin.ledger.recommendations.impressions(100))


def test_old_answers_are_forgotten_although_no_generation_goes_live(akin: Installation, upkeep: Upkeep) -> None:
    give_answer(akin, "old", days_ago=30.1)
    give_answer(akin, "young", days_ago=29.9)

    upkeep.step()

    assert logged(akin) == {"young"}
    assert [generation.name for generation in akin.ledger.generations.list()] == ["first"]


def test_what_is_old_is_looked_for_once_an_hour(akin: Installation, upkeep: Upkeep) -> None:
    upkeep.step()
    give_answer(akin, "old", days_ago=31)

    upkeep.step()
    assert logged(akin) == {"old"}

    upkeep._forget_at = 0  # an hour later
    upkeep.step()
    assert logged(akin) == set()


@pytest.mark.parametrize("rebuilds", [True, False])
def test_what_ends_with_one_command_begins_no_rebuild(
    akin: Installation, monkeypatch: pytest.MonkeyPatch, rebuilds: bool
) -> None:
    monkeypatch.setattr(Reindexer, "rebuild_is_due", lambda _: True)

    upkeep_of(akin, Alone(), rebuilds=rebuilds).step()

    assert (akin.ledger.generations.under_way() is not None) == rebuilds
