"""Two embedded programs, each with a folder of its own, on one ledger in PostgreSQL: only one of them may run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.catalogue import open_catalogue
from ingest.errors import HomeInUseError
from ingest.settings import Settings
from ingest.store.ledger import open_ledger
from ingest.store.schema import migrate
from tests.artifacts import tiny_artifact
from tests.processes import akin_program, environment_with, free_port, soon
from tests.services import empty


@pytest.fixture
def variables(postgres_url: str) -> Iterator[dict[str, str]]:
    migrate(postgres_url)
    yield {"AKIN_DATABASE_URL": postgres_url, "AKIN_ENCODER": str(tiny_artifact()), "AKIN_MIN_FREE_BYTES": "0"}
    empty(postgres_url)


def settings_in(home: Path, variables: dict[str, str]) -> Settings:
    return Settings(home=home, **{name.removeprefix("AKIN_").lower(): value for name, value in variables.items()})


def test_a_second_one_is_told_to_share_an_index_and_the_first_goes_on(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with open_catalogue(settings_in(tmp_path / "one", variables)) as first:
        with (
            pytest.raises(HomeInUseError, match="AKIN_QDRANT_URL"),
            open_catalogue(settings_in(tmp_path / "two", variables)),
        ):
            pass
        assert first.ledger.pending.count() == 0
    with open_catalogue(settings_in(tmp_path / "two", variables)):
        pass


@pytest.mark.slow
def test_a_program_that_is_killed_leaves_the_ledger_to_the_next(tmp_path: Path, variables: dict[str, str]) -> None:
    port = free_port()
    environment = environment_with({**variables, "AKIN_HOME": str(tmp_path / "one"), "AKIN_PORT": str(port)})
    program = akin_program(tmp_path, "up", ["up"], environment)
    program.start()
    try:
        with open_ledger(variables["AKIN_DATABASE_URL"]) as ledger:
            assert soon(lambda: ledger.generations.live() is not None, 60), program.said()
        with pytest.raises(HomeInUseError), open_catalogue(settings_in(tmp_path / "two", variables)):
            pass
    finally:
        program.kill()

    begun = time.monotonic()
    with open_catalogue(settings_in(tmp_path / "two", variables)):
        assert time.monotonic() - begun < 5
