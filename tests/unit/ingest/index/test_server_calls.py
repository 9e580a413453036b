"""Calls to a Qdrant server: repeated a little, as the server asks, never beyond the deadline, not at all into a void."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from ingest.errors import InvalidInputError, NotFoundError, UnavailableError
from ingest.index.server_calls import FAILURES_THAT_OPEN, OPEN_SECONDS, Calls, Circuit, Patience
from tests.fakes import FakeClock


def response(status: int, **headers: str) -> UnexpectedResponse:
    fields = httpx.Headers(
        [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    )
    return UnexpectedResponse(status, "", b"", fields)


AWAY = ResponseHandlingException(ConnectionError("refused"))


class Server:
    """Fails as it is told, then answers."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        return "answer"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(clock: FakeClock) -> Callable[..., Any]:
    circuit = Circuit(clock)

    def made(server: Server, *, attempts: int = 4, seconds: float = 30) -> str:
        patience = Patience(attempts=attempts, seconds=seconds)
        return Calls(patience, circuit, clock=clock, sleep=clock.advance).make("try", server)

    return made


@pytest.mark.parametrize("fault", [AWAY, response(503), response(500), response(429), TimeoutError("slow")])
def test_what_may_pass_is_tried_again(make: Callable[..., str], fault: Exception) -> None:
    server = Server(fault, fault)

    assert make(server) == "answer"
    assert server.asked == 3


@pytest.mark.parametrize("fault", [ResourceExhaustedResponse("busy", 7), response(503, retry_after="7")])
def test_the_server_says_how_long_to_wait(make: Callable[..., str], clock: FakeClock, fault: Exception) -> None:
    began = clock()

    make(Server(fault))

    assert clock() - began == pytest.approx(7)


@pytest.mark.parametrize("hint", ["soon", "-1", "1.5", "²", ""])
def test_a_hint_that_is_no_number_is_no_hint(make: Callable[..., str], clock: FakeClock, hint: str) -> None:
    began = clock()

    assert make(Server(response(503, retry_after=hint))) == "answer"

    assert clock() - began < 1


def test_a_wait_beyond_the_deadline_is_not_begun(make: Callable[..., str], clock: FakeClock) -> None:
    began = clock()
    server = Server(ResourceExhaustedResponse("busy", 31))

    with pytest.raises(UnavailableError):
        make(server, seconds=30)

    assert (server.asked, clock()) == (1, began)


def test_waits_grow_and_attempts_end(make: Callable[..., str], clock: FakeClock) -> None:
    began = clock()
    server = Server(*[response(503, retry_after="0")] * 9)

    with pytest.raises(UnavailableError, match="503"):
        make(server, attempts=4)

    assert server.asked == 4
    assert 0.35 <= clock() - began <= 0.7  # 0.1 + 0.2 + 0.4, each at least halved by chance


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_server_refuses_is_not_tried_again(make: Callable[..., str], status: int) -> None:
    server = Server(response(status))

    with pytest.raises(InvalidInputError):
        make(server)
    assert server.asked == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_stays_as_it_is_is_not_tried_again(make: Callable[..., str], status: int) -> None:
    server = Server(response(status))

    with pytest.raises(UnavailableError):
        make(server)
    assert server.asked == 1


def test_an_error_of_akin_s_own_passes_through(make: Callable[..., str]) -> None:
    with pytest.raises(NotFoundError):
        make(Server(NotFoundError("no such collection")))


def test_a_server_that_is_away_is_not_asked_by_everybody(make: Callable[..., str], clock: FakeClock) -> None:
    for _ in range(FAILURES_THAT_OPEN):
        with pytest.raises(UnavailableError):
            make(Server(AWAY), attempts=1)

    spared = Server()
    with pytest.raises(UnavailableError, match="a moment ago"):
        make(spared)
    assert spared.asked == 0

    # after a second one call finds out, the others wait for what comes of it
    clock.advance(OPEN_SECONDS)
    with pytest.raises(UnavailableError):
        make(Server(AWAY), attempts=1)
    with pytest.raises(UnavailableError, match="a moment ago"):
        make(spared)
    clock.advance(OPEN_SECONDS)
    assert make(Server()) == "answer"
    assert make(spared) == "answer"
