"""A count is kept for a while, and nobody but the first waits for a new one where another thread can make it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from ingest.errors import UnavailableError
from serving.recounted import Recounted
from tests.fakes import FakeClock


def test_without_an_executor_whoever_asks_counts_when_the_count_is_old():
    clock, counts = FakeClock(), iter(range(10))
    counted = Recounted(lambda: next(counts), seconds=60, clock=clock)
    assert (counted(), counted()) == (0, 0)
    clock.advance(60)
    assert (counted(), counted()) == (1, 1)
    counted.expire()
    assert counted() == 2


def test_with_one_the_old_count_is_handed_out_until_the_new_one_is_there():
    clock, may_end, ended = FakeClock(), Event(), Event()
    counts = iter(range(10))

    def count():
        number = next(counts)
        if number:
            assert may_end.wait(10)
            ended.set()
        return number

    with ThreadPoolExecutor(1) as executor:
        counted = Recounted(count, seconds=60, clock=clock, executor=executor)
        assert counted() == 0, "the first waits"
        clock.advance(61)
        assert [counted() for _ in range(3)] == [0, 0, 0]
        may_end.set()
        assert ended.wait(10)
    assert counted() == 1
    assert next(counts) == 2, "three questions, one count"


def test_a_count_that_fails_leaves_the_old_one_and_is_tried_again():
    clock, answers = FakeClock(), iter([1, UnavailableError("away"), 2])

    def count():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with ThreadPoolExecutor(1) as executor:
        counted = Recounted(count, seconds=60, clock=clock, executor=executor)
        counted()
        for _ in range(2):
            clock.advance(61)
            assert counted() == 1
            executor.submit(lambda: None).result()  # after the count, as there is one thread
    assert counted() == 2


def test_a_count_that_was_under_way_when_counts_expired_is_old_already():
    clock, may_end, counts = FakeClock(), Event(), iter(range(10))

    def count():
        number = next(counts)
        if number == 1:
            assert may_end.wait(10)
        return number

    with ThreadPoolExecutor(1) as executor:
        counted = Recounted(count, seconds=60, clock=clock, executor=executor)
        counted()
        clock.advance(61)
        counted()
        counted.expire()
        may_end.set()
        executor.submit(lambda: None).result()  # after the count, as there is one thread
        assert counted() == 1, "better than the one before"
        executor.submit(lambda: None).result()
        assert counted() == 2
        assert next(counts) == 3, "which is fresh"
