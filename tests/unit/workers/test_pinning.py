"""Processes of a worker's pool keep to cores of their own, by their place in the pool."""

import os
import time

from billiard import get_context

from workers.programs import pin_process


def cores(_: int) -> frozenset[int]:
    time.sleep(0.2)  # so that both processes get one of the questions
    return frozenset(os.sched_getaffinity(0))


def test_each_process_of_the_pool_has_its_own_cores() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    pool = get_context("fork").Pool(2, initializer=pin_process, initargs=(2,))
    try:
        found = set(pool.map(cores, range(8), chunksize=1))
    finally:
        pool.terminate()
        pool.join()

    assert found == {frozenset(allowed[place::2] or allowed) for place in range(2)}
