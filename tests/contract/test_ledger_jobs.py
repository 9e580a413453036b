"""What the jobs and rejects of every ledger must do, run over SQLite and PostgreSQL."""

from datetime import timedelta

from ledger_fixtures import NOON, begin, item, place, write

from ingest.store.ledger import Ledger
from ingest.store.records import Reject


def test_a_job_counts_what_is_placed_and_what_failed(ledger: Ledger) -> None:
    begin(ledger, "g")
    job = ledger.jobs.begin("items")
    write(ledger, *map(item, "abc"), job_id=job)
    ledger.jobs.grow(job, 2)
    ledger.jobs.grow(job, 1)

    def standing() -> tuple[str, int, int, int]:
        found = ledger.jobs.get(job)
        assert found is not None
        return found.state, found.total, found.placed, found.failed

    assert standing() == ("queued", 3, 0, 0)
    place(ledger, ["a"], "g")
    assert standing() == ("running", 3, 1, 0)
    ledger.pending.put_aside(ledger.pending.claim(["b"], lease="l", seconds=60), {"b": "why"})
    assert standing() == ("running", 3, 1, 1)
    place(ledger, ["c"], "g")
    assert standing() == ("done_with_errors", 3, 2, 1)
    found = ledger.jobs.get(job)
    assert found is not None
    assert [(e.item_id, e.reason) for e in found.errors] == [("b", "why")]
    write(ledger, item("b", "good"), job_id="another")
    assert standing() == ("done", 3, 3, 0)
    assert ledger.jobs.get("no such job") is None


def test_rejects_are_listed_latest_first(ledger: Ledger) -> None:
    ledger.rejects.add([])
    ledger.rejects.add(
        [
            Reject(
                source="s", position=n, subject_id=None, code="c", detail="d", rejected_at=NOON + timedelta(seconds=n)
            )
            for n in range(5)
        ]
    )

    assert [r.position for r in ledger.rejects.list(limit=3)] == [4, 3, 2]
    assert ledger.rejects.list()[0].rejected_at == NOON + timedelta(seconds=4)
