"""The app takes JSON only and keeps no results; its queue says when the broker is away, and never raises."""

import time

import pytest
from pydantic import SecretStr

from ingest.errors import UnavailableError
from ingest.settings import Settings
from workers.app import CeleryQueue, make_app


def queue_at(broker: str) -> CeleryQueue:
    return CeleryQueue(make_app(Settings(broker_url=SecretStr(broker))))


def test_only_json_is_sent_and_accepted() -> None:
    conf = make_app(Settings()).conf

    assert conf.task_serializer == "json"
    assert list(conf.accept_content) == ["json"]
    assert conf.task_ignore_result
    assert conf.result_backend is None


def test_work_is_acknowledged_after_it_is_done_and_one_message_is_held_at_a_time() -> None:
    conf = make_app(Settings()).conf

    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1


def test_without_a_broker_messages_stay_in_the_process() -> None:
    app = make_app(Settings())

    assert app.conf.broker_url.startswith("memory://")
    CeleryQueue(app).ping()


def test_a_broker_that_is_away_is_told_and_not_raised() -> None:
    took = []
    for _ in range(3):
        away = queue_at("redis://127.0.0.1:1/0")
        started = time.monotonic()
        assert away.wake(["a"]) is False
        with pytest.raises(UnavailableError, match="broker"):
            away.ping()
        took.append(time.monotonic() - started)

    # Whoever writes must not wait for it. What else runs on the machine only ever adds, so the best counts.
    assert min(took) < 1


def test_a_secret_in_the_broker_s_address_stays_secret() -> None:
    with pytest.raises(UnavailableError) as raised:
        queue_at("redis://:hunter2@127.0.0.1:1/0").ping()

    assert "hunter2" not in str(raised.value)


def test_the_depth_of_the_queue_is_what_waits_in_it():
    app = make_app(Settings())
    app.conf.task_default_queue = "depth"
    queue = CeleryQueue(app)
    assert queue.depth() == 0  # nobody has used it yet
    queue.wake(["a"])
    queue.wake(["b"])
    assert queue.depth() == 2


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"])
def test_a_broker_that_is_away_has_no_depth(url):
    assert CeleryQueue(make_app(Settings(broker_url=url))).depth() is None
