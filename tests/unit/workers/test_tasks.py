"""A task does what its message asks, has it come again, or lists it among the rejects: no message just ends."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject
from pydantic import SecretStr

import workers.tasks
from ingest.errors import ArtifactError, UnavailableError
from ingest.logs import JsonFormatter
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from workers.app import make_app
from workers.resources import Intake, Resources
from workers.tasks import register

ITEM = {"item_id": "a", "title": "A"}
EVENT = {"user_id": "ada", "item_id": "a", "type": "view"}


def without_an_encoder() -> Resources:
    raise ArtifactError("there is no encoder artifact")


def failing_first(*errors: BaseException, then: Intake) -> Callable[[], Intake]:
    """What is asked for an intake: raises these, one at a time, and gives it then."""
    waiting = list(errors)

    def ask() -> Intake:
        if waiting:
            raise waiting.pop(0)
        return then

    return ask


@pytest.fixture
def intake(settings: Settings, sqlite_ledger: Ledger) -> Intake:
    return Intake(settings=settings, ledger=sqlite_ledger)


def app_with(intake: Callable[[], Intake], resources: Callable[[], Resources] = without_an_encoder) -> Celery:
    app = make_app(Settings())
    register(app, resources, intake)
    app.finalize()
    return app


def rejects(intake: Intake) -> list[tuple[str, int, str]]:
    return sorted((r.source, r.position, r.code) for r in intake.ledger.rejects.list())


def test_taking_in_needs_no_encoder(intake: Intake) -> None:
    app = app_with(lambda: intake)

    app.tasks["akin.submit_items"].apply([[ITEM]])
    app.tasks["akin.submit_events"].apply(kwargs={"events": [EVENT], "format": 1})

    assert intake.ledger.items.get("a") is not None
    assert intake.ledger.events.count() == 1


@pytest.mark.parametrize(
    ("arguments", "named"), [([], {}), ([[ITEM], 1, 2], {}), ([[ITEM]], {"self": 1}), ([], {"itmes": [ITEM]})]
)
def test_a_message_of_another_shape_is_listed(intake: Intake, arguments: list[Any], named: dict[str, Any]) -> None:
    app = app_with(lambda: intake)

    app.tasks["akin.submit_items"].apply(arguments, named)
    app.tasks["akin.submit_events"].apply(arguments, named | {"events": [EVENT]} if arguments else named)

    assert rejects(intake) == [("akin.submit_events", 0, "arguments"), ("akin.submit_items", 0, "arguments")]
    assert intake.ledger.items.count() == 0


@pytest.mark.parametrize("error", [UnavailableError("away"), ArtifactError("damaged"), MemoryError(), OSError("disk")])
@pytest.mark.parametrize(("task", "message"), [("akin.submit_items", [ITEM]), ("akin.submit_events", [EVENT])])
def test_a_message_that_could_not_be_worked_on_comes_again(
    intake: Intake, caplog: pytest.LogCaptureFixture, error: Exception, task: str, message: list[Any]
) -> None:
    app = app_with(failing_first(error, error, then=intake))

    app.tasks[task].apply([message])

    assert intake.ledger.items.count() + intake.ledger.events.count() == 1
    put_off = [record for record in caplog.records if record.message == "task put off"]
    assert [vars(record)["task"] for record in put_off] == [task, task]
    assert vars(put_off[0])["reason"] in (str(error), type(error).__name__)


def test_a_message_that_comes_again_is_the_same_message(intake: Intake) -> None:
    app = app_with(lambda: intake)

    for _ in range(3):
        app.tasks["akin.submit_events"].apply([[EVENT, EVENT]], task_id="one")
    assert intake.ledger.events.count() == 2

    app.tasks["akin.submit_events"].apply([[EVENT, EVENT]], task_id="another")
    assert intake.ledger.events.count() == 4


class OnceAway:
    """Stands in for whatever a task asks of its resources, and is away when it is asked first."""

    def __init__(self, error: Exception) -> None:
        self.asked = 0
        self._error = error

    def request_nightly(self) -> None:
        self.asked += 1
        if self.asked == 1:
            raise self._error


@pytest.mark.parametrize("error", [UnavailableError("away"), MemoryError()])
def test_a_nightly_reindex_that_could_not_be_begun_is_tried_again(intake: Intake, error: Exception) -> None:
    reindexer = OnceAway(error)
    resources: Any = replace(without_contents(), reindexer=reindexer)

    app_with(lambda: intake, lambda: resources).tasks["akin.reindex"].apply()

    assert reindexer.asked == 2


def test_a_training_that_could_not_be_asked_for_is_asked_for_again(intake: Intake) -> None:
    app_with(failing_first(UnavailableError("away"), then=intake)).tasks["akin.train_taste"].apply()

    assert intake.ledger.leases.take_request("training")


def without_contents() -> Resources:
    nothing: Any = None
    return Resources(settings=nothing, ledger=nothing, reconciler=nothing, reindexer=nothing, trainer=nothing)


@pytest.mark.parametrize("error", [UnavailableError("away"), MemoryError()])
def test_a_reconcile_that_fails_is_left_to_the_sweep(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    def away() -> Resources:
        raise error

    done = app_with(lambda: pytest.fail("not asked"), away).tasks["akin.reconcile"].apply([["a"]])

    assert done.successful()
    assert [record.message for record in caplog.records] == ["reconcile put off"]


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"])
@pytest.mark.parametrize("error", [UnavailableError("away"), MemoryError()])
def test_a_message_stays_with_the_broker_that_does_not_take_it_again(
    monkeypatch: pytest.MonkeyPatch, broker: str, error: Exception
) -> None:
    monkeypatch.setattr(workers.tasks, "AWAY_SECONDS", 0.0)

    def away() -> Intake:
        raise error

    app = make_app(Settings(broker_url=SecretStr(broker)))
    register(app, without_an_encoder, away)
    task = app.tasks["akin.submit_items"]
    task.push_request(id="one", retries=0, args=[[ITEM]], kwargs={}, called_directly=False, delivery_info={})

    with pytest.raises(Reject) as rejected:
        task.run([ITEM])

    assert rejected.value.requeue


def test_a_message_whose_process_had_to_be_killed_is_given_out_again() -> None:
    app = app_with(lambda: pytest.fail("not asked"))

    assert not any(app.tasks[f"akin.{name}"].acks_on_timeout for name in ("submit_items", "submit_events", "reindex"))


def test_an_error_s_line_says_nothing_of_the_message(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Resources:
        raise RuntimeError("a bug")

    with caplog.at_level(logging.INFO):
        app_with(lambda: intake, broken).tasks["akin.reconcile"].apply([["s3cret"]])

    assert "a bug" in caplog.text
    assert "s3cret" not in "".join(map(JsonFormatter().format, caplog.records))
