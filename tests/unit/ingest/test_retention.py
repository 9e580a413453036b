"""Answers and finished jobs are kept as long as the settings say, and no longer."""

from pathlib import Path

from ingest.items import Item
from ingest.retention import forget_old
from ingest.submit import submit_items
from tests.fakes import installation

AT_ONCE = 1e-12  # days


def test_old_jobs_are_forgotten_once_nothing_of_them_is_pending(tmp_path: Path) -> None:
    with installation(tmp_path, keep_log_days=AT_ONCE) as akin:
        done = submit_items(akin.ledger, akin.queue, akin.settings, [Item(item_id="a", text="a text")]).job_id
        akin.place_all()
        waiting = submit_items(akin.ledger, akin.queue, akin.settings, [Item(item_id="b", text="b text")]).job_id

        forget_old(akin.settings, akin.ledger)

        assert akin.ledger.jobs.get(done) is None
        assert akin.ledger.jobs.get(waiting) is not None


def test_young_jobs_are_kept(tmp_path: Path) -> None:
    with installation(tmp_path) as akin:
        job_id = akin.ledger.jobs.begin("items")

        forget_old(akin.settings, akin.ledger)

        assert akin.ledger.jobs.get(job_id) is not None


def test_what_was_forgotten_is_in_no_file(tmp_path: Path) -> None:
    with installation(tmp_path, keep_log_days=AT_ONCE) as akin:
        akin.ledger.jobs.begin("a kind that nothing else has")

        forget_old(akin.settings, akin.ledger)

        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path for path in files if b"a kind that nothing else has" in path.read_bytes()] == []
