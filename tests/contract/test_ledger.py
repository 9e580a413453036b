"""What every ledger must do as a whole, run over SQLite and PostgreSQL."""

import multiprocessing
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ledger_fixtures import all_at_once, begin, event, item, place, write

from ingest.errors import SettingsError, UnavailableError
from ingest.store.database import Database
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.schema import migrate
from tests.services import empty


def test_a_ledger_opened_again_is_the_same(ledger: Ledger, ledger_url: str) -> None:
    write(ledger, item("a"))

    with open_ledger(ledger_url) as again:
        again.ping()
        assert again.items.count() == 1


def test_many_that_open_a_new_ledger_at_once_agree(ledger_url: str) -> None:
    results = all_at_once([lambda: open_ledger(ledger_url)] * 8)

    assert not [result for result in results if isinstance(result, Exception)]
    results[0].users.delete("Ann")
    assert all(ledger.users.deleted(["Ann"]) for ledger in results)
    for ledger in results:
        ledger.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite+pysqlcipher:///x", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_ledger(url)


def test_a_ledger_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        open_ledger("postgresql+psycopg://postgres@127.0.0.1:1/nothing?connect_timeout=2")
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database, and long enough not to look like one" * 99)
    with pytest.raises(UnavailableError):
        open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def test_a_server_that_takes_connections_and_says_nothing_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            open_ledger(f"postgresql+psycopg://postgres@127.0.0.1:{silent.getsockname()[1]}/nothing")

    assert time.monotonic() - started < 20


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system tells no such limits")
@pytest.mark.parametrize(("query", "milliseconds"), [("", 15_000), ("?tcp_user_timeout=7000", 7_000)])
def test_a_connection_whose_other_end_is_gone_is_given_up(postgres_url: str, query: str, milliseconds: int) -> None:
    database = Database(postgres_url + query)
    with database.read() as connection:
        driver: Any = connection.connection.dbapi_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as theirs:
            given_up = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            idle = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            alive = theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    database.close()

    assert (given_up, bool(alive)) == (milliseconds, True)
    assert idle <= 60


def write_from_another_process(url: str, name: str, n: int) -> None:
    with open_ledger(url) as ledger:
        for i in range(n):
            ledger.items.write([item(f"{name}{i}"), item("shared", f"{name} {i}")], job_id="j", revive=False, due_in=0)


def test_two_processes_write_to_one_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_from_another_process, args=(url, name, 40)) for name in "pq"]
    for writer in writers:
        writer.start()
    write_from_another_process(url, "r", 40)
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0]
    with open_ledger(url) as ledger:
        assert ledger.items.count() == 121
        shared = ledger.items.get("shared")
        assert shared is not None
        assert shared.version == 120


def test_postgresql_is_vacuumed_where_rows_went_and_nowhere_else(postgres_url: str) -> None:
    migrate(postgres_url)
    with open_ledger(postgres_url) as ledger, ledger._database.read() as connection:

        def counted(column: str, table: str) -> int:
            connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
            query = f"SELECT {column} FROM pg_stat_user_tables WHERE relname = '{table}'"
            return int(connection.exec_driver_sql(query).scalar() or 0)

        # given events and placements, of which the placements lost rows
        ledger.events.add([event("e1")])
        write(ledger, *map(item, "ab"))
        begin(ledger, "g")
        place(ledger, ["a", "b"], "g")
        ledger.placements.forget("g")
        until = time.monotonic() + 10
        while not counted("n_dead_tup", "placements") and time.monotonic() < until:
            time.sleep(0.1)
        before = {table: counted("vacuum_count", table) for table in ("events", "placements")}

        # when the ledger is scrubbed
        ledger.scrub()

        # then the placements were vacuumed and the events, where nothing is to be gained, were not
        until = time.monotonic() + 10
        while counted("vacuum_count", "placements") == before["placements"] and time.monotonic() < until:
            time.sleep(0.1)
        assert counted("vacuum_count", "placements") == before["placements"] + 1
        assert counted("vacuum_count", "events") == before["events"]
    empty(postgres_url)
