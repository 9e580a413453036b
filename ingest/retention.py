"""What is kept only so long: the answers that were given, and the jobs that are finished."""

from datetime import UTC, datetime, timedelta

from ingest.settings import Settings
from ingest.store.ledger import Ledger


def forget_old(settings: Settings, ledger: Ledger) -> None:
    """Remove what is older than `keep_log_days`, and leave nothing of what was deleted in the database's files."""
    old = datetime.now(UTC) - timedelta(days=settings.keep_log_days)
    ledger.recommendations.forget_before(old)
    ledger.jobs.forget_before(old)
    ledger.scrub()
