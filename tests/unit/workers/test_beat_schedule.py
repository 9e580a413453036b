"""The schedule runs what the settings say, or says what is wrong with them."""

import pytest
from celery.schedules import crontab

from ingest.errors import SettingsError
from ingest.settings import Settings
from workers.schedule import beat_schedule


def test_the_reindex_runs_at_the_crontab() -> None:
    schedule = beat_schedule(Settings(reindex_crontab="30 2 * * 1-5"))

    assert schedule == {
        "nightly reindex": {"task": "akin.reindex", "schedule": crontab(minute="30", hour="2", day_of_week="1-5")}
    }


def test_every_night_is_the_default() -> None:
    assert beat_schedule(Settings())["nightly reindex"]["schedule"] == crontab(minute="0", hour="3")


@pytest.mark.parametrize("never", ["", "  "])
def test_an_empty_crontab_means_never(never: str) -> None:
    assert beat_schedule(Settings(reindex_crontab=never)) == {}


@pytest.mark.parametrize(
    "wrong", ["0 3 * *", "0 3 * * * *", "nightly", "61 3 * * *", "0 24 * * *", "a b c d e", "0 3 * * moonday", "@daily"]
)
def test_a_wrong_crontab_is_a_settings_error(wrong: str) -> None:
    with pytest.raises(SettingsError, match="AKIN_REINDEX_CRONTAB"):
        beat_schedule(Settings(reindex_crontab=wrong))
