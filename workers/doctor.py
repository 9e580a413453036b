"""What `akin doctor` asks of the schedule and the broker."""

from ingest.doctor import Check
from ingest.settings import Settings
from workers.app import CeleryQueue, make_app
from workers.schedule import beat_schedule


def checks(settings: Settings) -> dict[str, Check]:
    """By name: whether the schedule can be read, and the broker answers."""
    return {"schedule": lambda: _schedule(settings), "broker": lambda: _broker(settings)}


def _schedule(settings: Settings) -> str:
    return f"reindex at {settings.reindex_crontab} (UTC)" if beat_schedule(settings) else "no nightly reindex"


def _broker(settings: Settings) -> str:
    CeleryQueue(make_app(settings)).ping()
    return "answers" if settings.broker_url else "in memory"
