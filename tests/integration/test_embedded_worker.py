"""Celery inside the process: what is sent to it, or written without a word to it, is in the index within seconds."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from ingest.errors import UnavailableError
from ingest.events import Event
from ingest.index.protocol import Query, SparseVector
from ingest.items import Item
from ingest.logs import JsonFormatter
from ingest.queue import NoQueue
from ingest.reindex import Reindexer
from ingest.settings import Settings
from ingest.store.ledger import open_ledger
from ingest.submit import delete_items, submit_items
from ingest.trainer import Trainer
from tests.fakes import HashingEncoder, Installation, installation
from workers.app import CeleryQueue, make_app
from workers.embedded import embedded_worker
from workers.resources import Resources
from workers.upkeep import Alone, Upkeep

SECONDS = 10.0


class SlowEncoder(HashingEncoder):
    """Says when it begins to embed, and goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def embed(self, texts: Any) -> Any:
        self.began.set()
        assert self.go_on.wait(20)
        return super().embed(texts)


def resources_of(made: Installation) -> Resources:
    reindexer = Reindexer(made.settings, made.ledger, made.index, made.encoders, lambda _: pytest.fail("not asked"))
    return Resources(
        settings=made.settings,
        ledger=made.ledger,
        reconciler=made.reconciler,
        reindexer=reindexer,
        trainer=Trainer(made.settings, made.ledger, made.index),
    )


class HungryEncoder(HashingEncoder):
    """Runs out of memory over its first texts."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def embed(self, texts: Any) -> Any:
        if not self.refused:
            self.refused += 1
            raise MemoryError
        return super().embed(texts)


@contextmanager
def working(made: Installation, app: Celery | None = None) -> Iterator[Celery]:
    app = app or make_app(made.settings)
    resources = resources_of(made)
    with embedded_worker(app, resources, Upkeep(resources, CeleryQueue(app), Alone())):
        yield app


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as made:
        yield made


@pytest.fixture
def app(akin: Installation) -> Iterator[Celery]:
    with working(akin) as app:
        yield app


def soon(true: Callable[[], Any], seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return False


def items(*ids: str) -> list[Item]:
    return [Item(item_id=i, text=f"text of {i}") for i in ids]


def placed(akin: Installation) -> set[str]:
    return set(akin.index.open("first").ids())


def rejects(akin: Installation) -> list[tuple[str, int, str]]:
    return sorted((r.source, r.position, r.code) for r in akin.ledger.rejects.list())


def test_what_is_submitted_through_the_queue_is_placed_at_once(akin: Installation, app: Celery) -> None:
    started = time.monotonic()

    submission = submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("a", "b"))

    assert soon(lambda: placed(akin) == {"a", "b"})
    assert time.monotonic() - started < 5
    assert soon(lambda: akin.ledger.jobs.get(submission.job_id).state == "done")

    delete_items(akin.ledger, CeleryQueue(app), akin.settings, ["a"])
    assert soon(lambda: placed(akin) == {"b"})


def test_what_nobody_was_told_of_is_found(akin: Installation, app: Celery) -> None:
    submit_items(akin.ledger, NoQueue(), akin.settings, items("a"))

    assert soon(lambda: placed(akin) == {"a"})


def write_elsewhere(url: str, settings: Settings) -> None:
    with open_ledger(url) as ledger:
        submit_items(ledger, NoQueue(), settings, items("from another process"))
        delete_items(ledger, NoQueue(), settings, ["here before"])


def test_what_another_process_writes_is_found(akin: Installation, app: Celery) -> None:
    submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("here before"))
    assert soon(lambda: placed(akin) == {"here before"})

    other = multiprocessing.get_context("spawn").Process(
        target=write_elsewhere, args=(akin.settings.ledger_url, akin.settings)
    )
    other.start()
    other.join(60)

    assert other.exitcode == 0
    assert soon(lambda: placed(akin) == {"from another process"})


def test_items_sent_as_a_task_are_taken_and_bad_ones_listed(akin: Installation, app: Celery) -> None:
    good = {"item_id": "a", "title": "A", "attributes": {"year": 1990}}
    bad = {"item_id": "b", "title": "B", "attributes": {"year": "no number"}}

    app.send_task("akin.submit_items", args=[[good, bad, "no object"]])

    assert soon(lambda: placed(akin) == {"a"})
    assert soon(lambda: len(rejects(akin)) == 2)
    assert [(source, position) for source, position, _ in rejects(akin)] == [
        ("akin.submit_items", 1),
        ("akin.submit_items", 2),
    ]


def test_events_sent_as_a_task_are_taken_and_bad_ones_listed(akin: Installation, app: Celery) -> None:
    good = {"event_id": "e", "user_id": "u", "item_id": "a", "type": "view", "timestamp": "2024-05-01T12:00:00Z"}

    app.send_task("akin.submit_events", kwargs={"events": [good, {**good, "type": "unheard of"}, good], "format": 1})

    assert soon(lambda: rejects(akin) == [("akin.submit_events", 1, "unknown_event_type")])
    assert [e.event_id for e in akin.ledger.events.for_user("u")] == ["e"]


def test_a_message_of_another_format_is_listed_and_nothing_of_it_is_taken(akin: Installation, app: Celery) -> None:
    app.send_task("akin.submit_items", args=[[{"item_id": "a", "title": "A"}]], kwargs={"format": 2})
    app.send_task("akin.submit_events", args=["no list"])

    assert soon(
        lambda: rejects(akin) == [("akin.submit_events", 0, "wrong_type"), ("akin.submit_items", 0, "message_format")]
    )
    assert akin.ledger.items.count() == 0


def test_a_pickled_message_is_refused_and_the_next_one_is_worked_on(akin: Installation, app: Celery) -> None:
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        app.send_task(
            "akin.submit_items", args=[[{"item_id": "a", "title": "A"}]], serializer="pickle", producer=producer
        )

    app.send_task("akin.submit_items", args=[[{"item_id": "b", "title": "B"}]])

    assert soon(lambda: placed(akin) == {"b"})
    assert akin.ledger.items.get("a") is None


def test_a_message_that_no_task_can_be_given_harms_no_other_and_is_not_repeated_in_the_log(
    akin: Installation, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    secret = [{"item_id": "a", "title": "s3cret"}]
    app.send_task("akin.submit_items", args=[], kwargs={"no such argument": secret})
    app.send_task("akin.no_such_task", args=[secret])
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        where = {"exchange": "", "routing_key": "akin"}
        producer.publish("s3cret", headers={"task": "akin.submit_items"}, **where)  # without an id
        producer.publish("s3cret", headers={"subject": "s3cret"}, **where)  # no task at all
        headers = {"task": "akin.submit_items", "id": "1", "argsrepr": "s3cret"}
        producer.publish(
            b'"\xff s3cret', headers=headers, content_type="application/json", content_encoding="utf-8", **where
        )

    app.send_task("akin.submit_items", args=[[{"item_id": "b", "title": "B"}]])

    assert soon(lambda: placed(akin) == {"b"})
    assert rejects(akin) == [("akin.submit_items", 0, "arguments")]
    said = "".join(map(JsonFormatter().format, caplog.records))
    assert said.count("message not worked on") >= 2
    assert "akin.no_such_task" in said
    assert "s3cret" not in said


def test_the_scheduled_task_begins_a_generation_which_goes_live(akin: Installation, app: Celery) -> None:
    submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("a", "b"))
    assert soon(lambda: placed(akin) == {"a", "b"})

    assert app.conf.beat_schedule["nightly reindex"]["task"] == "akin.reindex"
    # The gate asks how good both generations are; this installation has nobody to ask, and refuses to guess.
    akin.ledger.generations.close("first", akin.ledger.generations.get("first").state, {})
    app.send_task("akin.reindex")

    assert soon(lambda: len(akin.ledger.generations.list()) == 2)


def test_a_stop_during_work_loses_nothing(tmp_path: Path) -> None:
    encoder = SlowEncoder()
    with installation(tmp_path, encoder=encoder, batch_items=2) as akin:
        # given a worker in the middle of a batch, with more behind it
        encoder.go_on.clear()
        with working(akin) as app:
            ids = [f"i{n}" for n in range(10)]
            submit_items(akin.ledger, CeleryQueue(app), akin.settings, items(*ids))
            assert encoder.began.wait(SECONDS)

            # when it is told to stop
            threading.Timer(0.3, encoder.go_on.set).start()
            stopped = time.monotonic()
        assert time.monotonic() - stopped < 3
        assert 2 <= len(placed(akin)) < 10  # what it was at is finished, the rest is left

        # then the next start does the rest
        with working(akin):
            akin.ledger.pending.make_due(break_leases=True)
            assert soon(lambda: placed(akin) == set(ids))
            assert soon(lambda: akin.ledger.pending.count() == 0)


def test_work_goes_on_after_the_index_was_away(akin: Installation, app: Celery) -> None:
    akin.index.close("first")
    folder = akin.settings.home / "index" / "first"
    folder.rename(folder.with_name("away"))
    submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("a"))
    time.sleep(0.5)
    assert akin.ledger.pending.count() == 1

    folder.with_name("away").rename(folder)

    assert soon(lambda: placed(akin) == {"a"}, seconds=20)


def test_a_training_that_is_asked_for_reaches_the_index(tmp_path: Path) -> None:
    with installation(tmp_path, taste_least_users=2) as akin, working(akin) as app:
        akin.add_items(items("a", "b", "c"))
        akin.add_events(
            [Event(event_id=f"{user}{i}", user_id=user, item_id=i, type="like") for user in "uvw" for i in "ab"]
        )

        app.send_task("akin.train_taste")

        assert soon(lambda: akin.ledger.taste.weights("a"), 60)
        there = akin.ledger.taste.positions("b")["b"]
        query = Query(taste=SparseVector(positions=(there,), weights=(1.0,)), limit=3)
        assert soon(lambda: [hit.item_id for hit in akin.index.open("first").query(query)][:1] == ["a"])


def test_a_lack_of_memory_puts_the_work_off_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = HungryEncoder()
    with installation(tmp_path, encoder=encoder) as akin, working(akin) as app:
        submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("a"))
        assert soon(lambda: encoder.refused)

        submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("b"))

        assert soon(lambda: placed(akin) == {"a", "b"}, seconds=20)
    assert [record.message for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def fatal_app(made: Installation) -> Celery:
    """An app with a task that ends a worker of one thread."""
    app = make_app(made.settings)

    @app.task(name="test.fatal", shared=False)  # type: ignore[untyped-decorator]
    def fatal() -> None:
        raise MemoryError

    return app


def test_a_worker_that_ended_is_started_again_and_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with installation(tmp_path) as akin, working(akin, fatal_app(akin)) as app:
        app.send_task("test.fatal")
        assert soon(lambda: "the worker ended; it starts again" in caplog.messages)

        submit_items(akin.ledger, CeleryQueue(app), akin.settings, items("a"))

        assert soon(lambda: placed(akin) == {"a"})


def test_a_worker_that_ends_again_and_again_is_said_to_and_still_told_to_stop(tmp_path: Path) -> None:
    with installation(tmp_path) as akin:
        app, resources = fatal_app(akin), resources_of(akin)
        upkeep = Upkeep(resources, CeleryQueue(app), Alone())
        with embedded_worker(app, resources, upkeep) as checks:
            checks["worker"]()

            for _ in range(3):
                app.send_task("test.fatal")

            assert soon(lambda: outcome(checks["worker"]) == "unavailable", seconds=20)
            stopped = time.monotonic()
        assert time.monotonic() - stopped < 5


def outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except UnavailableError as error:
        return error.code
    return "ok"


def test_what_is_in_the_way_of_the_upkeep_is_said_when_it_begins_and_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = [None, *[UnavailableError("Qdrant is away")] * 5, None, None]
    stop = threading.Event()

    class Tenure(Alone):
        def holds(self) -> bool:
            if not outcomes:
                stop.set()
            elif (outcome := outcomes.pop(0)) is not None:
                raise outcome
            return True

    with installation(tmp_path, sweep_seconds=0.001) as made, working(made) as app, caplog.at_level("INFO"):
        Upkeep(resources_of(made), CeleryQueue(app), Tenure()).run(stop)

    said = [record.message for record in caplog.records if record.message.startswith("maintenance")]
    assert said == ["maintenance put off", "maintenance goes on"]
