"""Several installations on one Qdrant server leave each other's collections alone, and clean up their own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from generations_by_hand import Akin, hand_driven, some_items

from ingest.backup import back_up, restore
from ingest.catalogue import open_catalogue, put_in_order
from ingest.collection_spec import collection_spec
from ingest.reindex import configured_encoder
from ingest.settings import Settings
from ingest.store.generations import NewGeneration
from ingest.store.ledger import open_ledger
from ingest.store.records import GenerationState
from tests.artifacts import tiny_artifact
from tests.processes import Program, answers, environment_with, free_port, soon

BEFORE_IDS = "g20250101-030000-0001"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.qdrant_stand_in", str(port)]
    program = Program("qdrant", command, environment_with({}), tmp_path / "qdrant.log")
    program.start()
    assert soon(lambda: answers(port)), program.said()
    yield f"http://127.0.0.1:{port}"
    program.kill()


def settings_of(folder: Path, server: str) -> Settings:
    return Settings(
        home=folder,
        encoder=tiny_artifact(),
        qdrant_url=server,
        min_free_bytes=0,
        encoder_threads=1,
        keep_generations=1,
        train_taste=False,
    )


@contextmanager
def opened(settings: Settings, *, first: str | None = None) -> Iterator[Akin]:
    """An installation put in order; `first` names its first generation as an akin did before there were ids."""
    with open_catalogue(settings) as catalogue:
        if first is not None:
            fingerprint, dimensions = configured_encoder(settings, catalogue.ledger, catalogue.encoders)
            new = NewGeneration(
                name=first, fingerprint=fingerprint, dimensions=dimensions, attributes=settings.attributes
            )
            catalogue.ledger.generations.begin(new, GenerationState.LIVE)
        put_in_order(catalogue)
        with hand_driven(catalogue) as akin:
            yield akin


def test_a_reindex_drops_what_is_left_of_its_own_and_nothing_of_another_installation(
    server: str, tmp_path: Path
) -> None:
    with opened(settings_of(tmp_path / "a", server)) as a, opened(settings_of(tmp_path / "b", server)) as b:
        # given two installations, one with a collection that a killed process left
        a.put(*some_items(5, "a"))
        b.put(*some_items(7, "b"))
        left = a.ledger.generations.new_name()
        a.index.create(left, collection_spec(a.settings, a.ledger, a.live))
        first = a.live.name

        # when each builds a generation
        assert a.reindex().state is GenerationState.LIVE
        assert b.reindex().state is GenerationState.LIVE

        # then each has its own, whole, and nothing else is left
        assert a.ids() == {f"a{n}" for n in range(5)}
        assert b.ids() == {f"b{n}" for n in range(7)}
        assert set(a.index.names()) == {a.live.name, b.live.name}
        assert first not in a.index.names()


def test_generations_named_before_there_were_ids_serve_on_and_go_when_their_time_comes(
    server: str, tmp_path: Path
) -> None:
    with opened(settings_of(tmp_path / "a", server), first=BEFORE_IDS) as a:
        a.put(*some_items(5, "a"))
        strangers = "g20250101-030000-0002"
        a.index.create(strangers, collection_spec(a.settings, a.ledger, a.live))
        assert a.live.name == BEFORE_IDS
        assert a.ids() == {f"a{n}" for n in range(5)}

        a.reindex()

        assert set(a.index.names()) == {strangers, a.live.name}
        assert a.ids() == {f"a{n}" for n in range(5)}


@pytest.mark.parametrize("first", [None, BEFORE_IDS])
def test_a_backup_restored_beside_the_akin_it_is_of_takes_a_collection_of_its_own(
    server: str, tmp_path: Path, first: str | None
) -> None:
    a_settings, b_settings = settings_of(tmp_path / "a", server), settings_of(tmp_path / "b", server)
    with opened(a_settings, first=first) as a:
        a.put(*some_items(5, "a"))
        with opened(b_settings) as b:
            b.put(*some_items(3, "b"))
            replaced = b.live.name

        # when what the first one backed up is restored into the second
        back_up(a_settings, tmp_path / "a.zip")
        restore(b_settings, tmp_path / "a.zip", force=True)

        # then the second fills a collection of its own, and the first one's is as it was
        assert a.index.names() == [a.live.name]
        with opened(b_settings) as b:
            b.finish()
            b.delete("a0")
            assert b.live.name not in {a.live.name, replaced}
            assert b.ids() == {"a1", "a2", "a3", "a4"}
            b.reindex()
        assert a.ids() == {f"a{n}" for n in range(5)}


def test_a_restore_over_a_ledger_that_cannot_be_read_leaves_what_may_be_a_strangers(
    server: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "a", server)
    with opened(settings) as a:
        a.put(*some_items(5, "a"))
        before = a.live.name
    back_up(settings, tmp_path / "a.zip")
    (settings.home / "ledger.sqlite").write_bytes(b"no ledger at all" * 1_000)

    restore(settings, tmp_path / "a.zip", force=True)

    with opened(settings) as a:
        a.finish()
        assert a.ids() == {f"a{n}" for n in range(5)}
        assert set(a.index.names()) == {before, a.live.name}
    with open_ledger(settings.ledger_url) as ledger:
        assert ledger.generations.own([before]) == set()
