"""How often a caller may ask: counted here, or in a Redis shared by several processes."""

import os
import uuid

import pytest
import redis

from ingest.doctor import examine
from ingest.errors import SettingsError
from ingest.settings import Settings
from serving.doctor import checks
from serving.rate_limits import RateLimits
from tests.services import missing

REDIS = os.environ.get("AKIN_TEST_REDIS_URL", "redis://127.0.0.1:6379/13")


def limits(limit, url=None):
    return RateLimits(Settings(rate_limit=limit, rate_limit_url=url))


@pytest.fixture
def redis_url():
    with redis.Redis.from_url(REDIS, socket_connect_timeout=2) as server:
        try:
            server.ping()
        except redis.ConnectionError:
            missing("Redis", "AKIN_TEST_REDIS_URL")
    return REDIS


@pytest.fixture
def caller():
    return uuid.uuid4().hex  # counters outlive the test


def test_without_a_limit_nothing_is_counted(caller):
    assert not limits("").any
    assert [limits("").wait_for(caller) for _ in range(50)] == [0] * 50


def test_each_caller_has_a_limit_of_its_own(caller):
    made = limits("3/minute")

    assert [made.wait_for(caller) for _ in range(3)] == [0, 0, 0]
    assert 1 <= made.wait_for(caller) <= 60
    assert made.wait_for(caller + "another") == 0


def test_processes_with_one_redis_count_together(redis_url, caller):
    one, other = limits("4/minute", redis_url), limits("4/minute", redis_url)

    assert [one.wait_for(caller), other.wait_for(caller), one.wait_for(caller), other.wait_for(caller)] == [0] * 4
    assert one.wait_for(caller) > 0
    assert other.wait_for(caller) > 0


def test_doctor_asks_the_counters_that_all_share(redis_url):
    def found(limit, url):
        check = checks(Settings(rate_limit=limit, rate_limit_url=url))["rate limit"]
        return examine(Settings(), {"rate limit": check})[-1]

    assert (found("", None).ok, found("", None).detail) == (True, "none")
    assert (found("5/second", None).ok, found("5/second", None).detail) == (True, "5/second")
    assert found("5/second", redis_url).ok
    away = found("5/second", "redis://127.0.0.1:9/0")
    assert not away.ok
    assert "AKIN_RATE_LIMIT_URL" in away.detail


def test_a_redis_that_is_away_leaves_each_process_counting_by_itself(caller):
    made = limits("2/minute", "redis://127.0.0.1:9/0")

    assert [made.wait_for(caller), made.wait_for(caller)] == [0, 0]
    assert made.wait_for(caller) > 0


@pytest.mark.parametrize("limit", ["many", "0/second", "-1/second", "100", "5/fortnight"])
def test_a_limit_that_cannot_be_read_is_a_settings_error(limit):
    with pytest.raises(SettingsError, match="AKIN_RATE_LIMIT"):
        limits(limit)


def test_counters_in_something_unknown_are_a_settings_error():
    with pytest.raises(SettingsError, match="AKIN_RATE_LIMIT_URL"):
        limits("1/second", "carrier-pigeon://roof")
