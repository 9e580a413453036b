"""One process holds a data folder, others can see that it does and where its API is."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pydantic import SecretStr

from ingest.errors import HomeInUseError, SettingsError
from ingest.home import announce_server, check_made, hold_home, is_held, running_server
from ingest.settings import Settings
from ingest.store.ledger import open_ledger


def hold_for_ever(home: Path, ready: Connection) -> None:
    with hold_home(home), announce_server(home, "http://127.0.0.1:1", "key"):
        ready.send(os.getpid())
        time.sleep(600)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """Another process that holds the folder and says where it serves."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold_for_ever, args=(tmp_path, theirs), daemon=True)
    process.start()
    assert ours.poll(60)
    ours.recv()
    yield process
    process.kill()
    process.join()
    process.close()
    ours.close()
    theirs.close()


def test_a_folder_is_made_and_held(tmp_path: Path) -> None:
    home = tmp_path / "not" / "made" / "yet"
    assert not is_held(home)

    with hold_home(home):
        assert home.is_dir()
        assert is_held(home)
        with pytest.raises(HomeInUseError, match="AKIN_HOME"), hold_home(home):
            pass

    assert not is_held(home)


def test_a_folder_held_by_another_process_is_refused(tmp_path: Path, holder: object) -> None:
    assert is_held(tmp_path)
    with pytest.raises(HomeInUseError), hold_home(tmp_path):
        pass


def test_a_folder_is_free_again_when_its_holder_was_killed(tmp_path: Path, holder: multiprocessing.Process) -> None:
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()

    assert not is_held(tmp_path)
    with hold_home(tmp_path):
        pass


def test_looking_whether_a_folder_is_held_keeps_nobody_from_holding_it(tmp_path: Path) -> None:
    # given somebody who looks all the time
    with hold_home(tmp_path):
        pass
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_held(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()

    # when others take hold of it one after the other, then each succeeds
    try:
        for _ in range(200):
            with hold_home(tmp_path):
                pass
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_a_folder_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(SettingsError, match="data folder"), hold_home(tmp_path / "file" / "home"):
        pass


def test_a_folder_that_is_none_is_a_settings_error_to_whoever_only_looks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(SettingsError, match="data folder"):
        is_held(tmp_path / "file")
    with pytest.raises(SettingsError, match="data folder"):
        running_server(tmp_path / "file")


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with hold_home(tmp_path / "home"):
        assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_folder_without_a_ledger_is_no_installation(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="AKIN_HOME"):
        check_made(settings)

    with open_ledger(settings.ledger_url):
        check_made(settings)


def test_a_ledger_elsewhere_needs_no_folder(settings: Settings) -> None:
    check_made(settings.model_copy(update={"database_url": SecretStr("postgresql+psycopg://db/akin")}))


def test_the_server_is_announced_while_it_runs(tmp_path: Path) -> None:
    assert running_server(tmp_path) is None

    with hold_home(tmp_path), announce_server(tmp_path, "http://127.0.0.1:8000", "key"):
        found = running_server(tmp_path)
        assert found is not None
        assert (found.url, found.key) == ("http://127.0.0.1:8000", "key")

    assert running_server(tmp_path) is None


def test_another_process_finds_the_server(tmp_path: Path, holder: multiprocessing.Process) -> None:
    found = running_server(tmp_path)

    assert found is not None
    assert (found.url, found.key) == ("http://127.0.0.1:1", "key")


def test_the_note_of_a_killed_server_misleads_nobody(tmp_path: Path, holder: multiprocessing.Process) -> None:
    # given a server that was killed and left its note
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert running_server(tmp_path) is None

    # when a process that serves nothing, such as a file being ingested, holds the folder
    with hold_home(tmp_path):
        assert running_server(tmp_path) is None


def test_a_note_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    # given a server that comes and goes
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            with announce_server(tmp_path, "http://127.0.0.1:8000", "key"):
                pass

    with hold_home(tmp_path):
        server = threading.Thread(target=come_and_go)
        server.start()
        try:
            found = [running_server(tmp_path) for _ in range(300)]
        finally:
            stop.set()
            server.join()

    assert {server.url for server in found if server} <= {"http://127.0.0.1:8000"}


def test_a_file_in_the_place_of_the_folder_is_said_to_be_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder")
    settings = Settings(home=home)

    with pytest.raises(SettingsError, match="is a file"):
        check_made(settings)
    with pytest.raises(SettingsError, match="is a file"), hold_home(home):
        pass
    with pytest.raises(SettingsError, match="is a file"), open_ledger(settings.ledger_url):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_that_may_not_be_looked_into_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o000)

    with pytest.raises(SettingsError, match="Permission denied"):
        check_made(Settings(home=home))
