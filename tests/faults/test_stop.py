"""SIGTERM under load: what is under way is finished, nothing is lost, and the exit status is 0."""

import random
import threading
import time

import httpx
import pytest

from tests.cluster import Cluster
from tests.faults.writers import Writer
from tests.final_state import check_final_state


@pytest.mark.timeout(240)
def test_programs_that_are_told_to_stop_under_load_lose_nothing(installation: Cluster, chance: random.Random) -> None:
    programs = [
        installation.start_worker("--concurrency", "1"),
        installation.start_worker("--concurrency", "1"),
        installation.start_beat(),
        installation.start_api(),
    ]
    installation.wait_until_ready()
    writer = Writer("p", installation.urls, random.Random(f"{chance.random()}"))
    stop = threading.Event()
    thread = threading.Thread(target=writer.run, args=(stop,))
    thread.start()

    took: dict[str, float] = {}
    for program in programs:
        time.sleep(1)
        began = time.monotonic()
        assert program.terminate() == 0, program.said()
        took[program.name] = time.monotonic() - began
        program.start()
    stop.set()
    thread.join()

    assert writer.failure is None
    slowest = max(took, key=lambda name: took[name])
    assert took[slowest] <= 30, f"{took}; {installation.said()}"
    installation.wait_until_quiet(60)
    check_final_state(installation.settings(), writer.model)
    print(f"slowest stop {took[slowest]:.1f} s ({slowest}), {writer.acknowledged} acknowledged, 0 lost")


@pytest.mark.timeout(240)
def test_a_task_that_was_only_just_given_out_does_not_hold_up_the_stop(installation: Cluster) -> None:
    # The worker forgets a task that its process has not yet said it began. That process then finishes it and waits
    # for somebody to read the result, which nobody does: half a minute by billiard's own measure.
    worker = installation.start_worker("--concurrency", "1")
    installation.start_beat()
    installation.start_api()
    installation.wait_until_ready()
    url = f"{installation.urls[0]}/v1/items"
    httpx.put(f"{url}/first", json={"title": "a first text"}).raise_for_status()
    installation.wait_until_quiet()

    (process,) = worker.children()
    process.suspend()
    try:
        httpx.put(f"{url}/second", json={"title": "another text"}).raise_for_status()
        time.sleep(2)  # nothing outside tells when the worker has given it out
        assert worker.process is not None
        worker.process.terminate()
        time.sleep(1)
    finally:
        process.resume()

    assert worker.process.wait(20) == 0
    worker.start()
    installation.wait_until_quiet()
    check_final_state(installation.settings(), {"first": "a first text", "second": "another text"})
