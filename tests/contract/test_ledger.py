"""What every ledger must do as a whole, run over SQLite and PostgreSQL."""

import multiprocessing
from pathlib import Path

import pytest
from ledger_fixtures import all_at_once, item, write

from ingest.errors import SettingsError, UnavailableError
from ingest.store.ledger import Ledger, open_ledger


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
