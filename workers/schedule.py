"""When what runs by itself: the nightly reindex, and the pulse that finds pending work."""

from typing import Any

from celery.schedules import crontab

from ingest.errors import SettingsError
from ingest.settings import Settings


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Celery beat's schedule. Raises SettingsError when the crontab has no five fields or a wrong one."""
    if not settings.reindex_crontab.strip():
        return {}
    try:
        minute, hour, day_of_month, month, day_of_week = settings.reindex_crontab.split()
        nightly = crontab(
            minute=minute, hour=hour, day_of_month=day_of_month, month_of_year=month, day_of_week=day_of_week
        )
    except Exception as error:  # celery raises its own parse error, ValueError or KeyError, by what is wrong
        raise SettingsError('AKIN_REINDEX_CRONTAB takes five crontab fields, such as "0 3 * * *"') from error
    return {"nightly reindex": {"task": "akin.reindex", "schedule": nightly}}
