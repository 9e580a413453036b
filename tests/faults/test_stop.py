"""SIGTERM under load: what is under way is finished, nothing is lost, and the exit status is 0."""

import random
import threading
import time

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

    slowest = 0.0
    for program in programs:
        time.sleep(1)
        began = time.monotonic()
        assert program.terminate() == 0, program.said()
        slowest = max(slowest, time.monotonic() - began)
        program.start()
    stop.set()
    thread.join()

    assert writer.failure is None
    assert slowest <= 30
    installation.wait_until_quiet(60)
    check_final_state(installation.settings(), writer.model)
    print(f"slowest stop {slowest:.1f} s, {writer.acknowledged} acknowledged, 0 lost")
