"""The recommendation log is written in the background."""

from datetime import UTC, datetime

from ingest.errors import UnavailableError
from ingest.store.records import LoggedRecommendation
from serving.log_writer import LogWriter


class Log:
    def __init__(self):
        self.written, self.away = [], False

    @property
    def recommendations(self):
        return self

    def log(self, entries):
        if self.away:
            raise UnavailableError("away")
        self.written += entries


def entry(n, user_id="ann"):
    return LoggedRecommendation(
        recommendation_id=f"r{n}",
        user_id=user_id,
        generation="g",
        strategy="mean",
        item_ids=("i",),
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
    )


def test_everything_is_written_at_the_latest_when_it_closes():
    ledger = Log()
    with LogWriter(ledger, interval_seconds=60) as writer:
        for n in range(1_200):
            writer.add(entry(n))
    assert [one.recommendation_id for one in ledger.written] == [f"r{n}" for n in range(1_200)]


def test_a_ledger_that_is_away_loses_entries_but_nothing_else():
    ledger = Log()
    writer = LogWriter(ledger, capacity=10)
    ledger.away = True
    writer.add(entry(0))
    writer.flush()
    for n in range(20):
        writer.add(entry(n))
    ledger.away = False
    writer.flush()
    assert [one.recommendation_id for one in ledger.written] == [f"r{n}" for n in range(10, 20)]
