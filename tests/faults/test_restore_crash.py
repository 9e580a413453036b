"""A restore killed at any named point leaves the old ledger or the new one, and either fills its index by itself."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ingest.backup import back_up, restore
from ingest.catalogue import open_catalogue
from ingest.items import Item
from ingest.queue import NoQueue
from ingest.reconcile import document
from ingest.settings import Settings
from ingest.store.schema import migrate
from ingest.submit import submit_items
from tests.artifacts import tiny_artifact
from tests.faults import restoring
from tests.faults.restoring import OF_A_FILE, POINTS
from tests.services import empty

BACKED_UP = {"a": "red river", "b": "blue stone"}
CHANGED = {"a": "green bird", "new": "one two three"}
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.restoring"])


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    made = {"AKIN_HOME": str(tmp_path / "home"), "AKIN_ENCODER": str(tiny_artifact()), "AKIN_MIN_FREE_BYTES": "0"}
    if request.param == "sqlite":
        yield made
        return
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    yield made | {"AKIN_DATABASE_URL": url}
    empty(url)


def settings_of(environment: dict[str, str]) -> Settings:
    return Settings(**{name.removeprefix("AKIN_").lower(): value for name, value in environment.items()})


def write(settings: Settings, texts: dict[str, str]) -> None:
    with open_catalogue(settings) as akin:
        submit_items(akin.ledger, NoQueue(), settings, [Item(item_id=i, title=text) for i, text in texts.items()])
    standing(settings)


def standing(settings: Settings) -> dict[str, str]:
    """The texts of the ledger once nothing is pending; the index then holds these items, and as they are."""
    with open_catalogue(settings) as akin:
        while due := akin.ledger.pending.due(100, put_off=0):
            akin.reconciler.reconcile([item_id for item_id, _ in due])
        assert akin.ledger.pending.count() == 0
        live = akin.ledger.generations.live()
        assert live is not None
        rows = [row for page in akin.ledger.items.pages() for row in page]
        texts = [document(row.item, row.version, settings.text_template).text for row in rows]
        encoded = akin.encoders.get(live.fingerprint).embed(texts)
        collection = akin.index.open(live.name)
        assert set(collection.ids()) == {row.item.item_id for row in rows}
        vectors = collection.vectors([row.item.item_id for row in rows])
        for row, vector in zip(rows, encoded, strict=True):
            np.testing.assert_allclose(vectors[row.item.item_id], vector, atol=1e-5)
        return {row.item.item_id: row.item.title for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_restore_leaves_the_old_or_the_new(environment: dict[str, str], tmp_path: Path, point: str) -> None:
    if point in OF_A_FILE and "AKIN_DATABASE_URL" in environment:
        pytest.skip("PostgreSQL has no file to put in place")
    # given a catalogue that went on after its backup
    settings = settings_of(environment)
    write(settings, BACKED_UP)
    back_up(settings, tmp_path / "b.zip")
    write(settings, CHANGED)

    # when the process that restores dies
    started = FORKS.Process(target=restoring.run, args=(environment, tmp_path / "b.zip", point))
    started.start()
    started.join(90)
    assert started.exitcode == -9

    # then the next start has one of the two, whole, and a second restore has the backup
    assert standing(settings) in (BACKED_UP, BACKED_UP | CHANGED)
    restore(settings, tmp_path / "b.zip", force=True)
    assert standing(settings) == BACKED_UP
    left = {path.name.split(".before-")[0] for path in settings.home.iterdir()}
    assert left <= {"encoders", "index", "ledger.sqlite", "lock"}
