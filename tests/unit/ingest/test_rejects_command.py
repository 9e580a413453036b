"""`akin rejects` shows every refusal, and of what."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from ingest.commands import output
from ingest.commands.records import app
from ingest.store.records import Reject

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def refused(sqlite_ledger, settings, monkeypatch):
    """120 messages of one part each."""
    monkeypatch.setenv("AKIN_HOME", str(settings.home))
    for n in range(120):
        reject = Reject(
            source="akin.submit_items",
            position=0,
            subject_id=f"item-{n}" if n else None,
            code="too_long",
            detail=f"reason {n}",
            rejected_at=START + timedelta(seconds=n),
        )
        sqlite_ledger.rejects.add([reject])


def test_refusals_of_different_messages_are_all_listed_with_what_was_refused(refused, monkeypatch):
    monkeypatch.setattr(output.console, "width", 200)
    said = CliRunner().invoke(app, ["rejects"]).output

    rows = [line.split() for line in said.splitlines() if "too_long:" in line]
    assert len(rows) == 120
    assert "2026-03-04 05:06:08" in said
    assert all(f"item-{n} " in said for n in range(1, 120))


def test_a_machine_reads_the_rows_that_the_api_gives_newest_first(refused):
    rows = json.loads(CliRunner().invoke(app, ["rejects", "--json"]).output)["rejects"]

    assert len(rows) == 120
    assert rows[-1]["subject_id"] is None
    assert rows[0] == {
        "source": "akin.submit_items",
        "position": 0,
        "subject_id": "item-119",
        "code": "too_long",
        "detail": "reason 119",
        "rejected_at": "2026-03-04T05:08:06+00:00",
    }
