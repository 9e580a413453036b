"""Which generations are kept, and which encoder the next one is built with. Whole rebuilds: tests/integration."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.encoder.library import EncoderLibrary
from ingest.errors import ArtifactError
from ingest.reindex import configured_encoder, generations_to_keep
from ingest.settings import Settings
from ingest.store.generations import NewGeneration
from ingest.store.ledger import Ledger
from ingest.store.records import Generation, GenerationState

DAY_ONE = datetime(2024, 1, 1, tzinfo=UTC)


def generation(name: str, state: str, *, live_on: int | None = None) -> Generation:
    return Generation(
        name=name,
        state=GenerationState(state),
        fingerprint="f",
        dimensions=4,
        attributes={},
        mean=None,
        items=0,
        created_at=DAY_ONE,
        live_at=None if live_on is None else DAY_ONE + timedelta(days=live_on),
    )


@pytest.mark.parametrize(
    ("complete", "kept"),
    [(1, {"g5", "g4"}), (2, {"g5", "g4", "g3"}), (3, {"g5", "g4", "g3", "g1"}), (9, {"g5", "g4", "g3", "g1"})],
)
def test_the_live_one_and_the_last_that_were_live_are_kept(complete: int, kept: set[str]) -> None:
    newest_first = [
        generation("g5", "live", live_on=5),
        generation("g4", "refused"),
        generation("g3", "retired", live_on=3),
        generation("g2", "failed"),
        generation("g1", "retired", live_on=1),
    ]

    assert generations_to_keep(newest_first, complete) == kept


def test_after_going_back_the_last_that_was_live_is_kept_however_old(settings: Settings) -> None:
    newest_first = [
        generation("new", "retired", live_on=9),
        generation("middle", "retired", live_on=5),
        generation("old", "live", live_on=10),
    ]

    assert generations_to_keep(newest_first, settings.keep_generations) == {"new", "old"}


@pytest.mark.parametrize("state", ["building", "catching_up"])
def test_a_generation_under_way_is_never_dropped(state: str) -> None:
    newest_first = [generation("next", state), generation("live", "live", live_on=1)]

    assert generations_to_keep(newest_first, 1) == {"next", "live"}


def test_without_an_artifact_the_live_generation_s_encoder_builds_the_next(
    sqlite_ledger: Ledger, settings: Settings
) -> None:
    new: dict[str, Any] = {"fingerprint": "f" * 64, "dimensions": 4, "attributes": {}}

    with EncoderLibrary(settings.home) as encoders:
        with pytest.raises(ArtifactError):
            configured_encoder(settings, sqlite_ledger, encoders)
        sqlite_ledger.generations.begin(NewGeneration(name="g", **new), GenerationState.LIVE)

        assert configured_encoder(settings, sqlite_ledger, encoders) == ("f" * 64, 4)
