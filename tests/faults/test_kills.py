"""Whatever process is killed, and however often: what was acknowledged is there in the end, and nothing else is."""

import os
import random
import signal
import threading
import time

import psutil
import pytest

from tests.brokers import Broker
from tests.cluster import Cluster
from tests.faults.conftest import SHORT
from tests.faults.writers import Writer
from tests.final_state import check_final_state
from tests.processes import Program

KILLS = int(os.environ.get("AKIN_KILLS", "100" if SHORT else "1000"))
SKEW_SECONDS = 7_200


def kill_a_child(program: Program, chance: random.Random) -> bool:
    """Kill -9 the process that runs tasks; False when there is none at this moment."""
    found = program.children()
    if not found:
        return False
    try:
        chance.choice(found).send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


@pytest.mark.timeout(240 + 6 * KILLS)
def test_nothing_acknowledged_is_lost_and_nothing_deleted_comes_back(
    installation: Cluster, own_broker: Broker, chance: random.Random
) -> None:
    # given two of everything, one worker with a clock that is two hours wrong, and writers
    workers = [
        installation.start_worker("--concurrency", "1"),
        installation.start_with_fault("worker", "--concurrency", "1", FAULT_SKEW_SECONDS=str(SKEW_SECONDS)),
    ]
    clocks = [installation.start_beat(), installation.start_beat()]
    apis = [installation.start_api(), installation.start_api()]
    installation.wait_until_ready()
    writers = [Writer(name, installation.urls, random.Random(f"{chance.random()}")) for name in ("p", "q")]
    stop = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(stop,)) for writer in writers]
    for thread in threads:
        thread.start()

    # when now this and now that is killed, and what ended is started again
    killed = {"task": 0, "worker": 0, "api": 0, "clock": 0, "broker": 0}
    with installation.supervised() as ended:
        kill_at_random(killed, chance, own_broker, {"worker": workers, "api": apis, "clock": clocks})
        stop.set()
        for thread in threads:
            thread.join()
        assert [writer.failure for writer in writers] == [None, None]

        # then all is in order soon, by itself
        installation.wait_until_quiet(120)
    model = {i: text for writer in writers for i, text in writer.model.items()}
    check_final_state(installation.settings(), model)
    counts = [sum(writer.acknowledged for writer in writers), sum(writer.repeated for writer in writers)]
    print(
        f"{killed}, {len(ended)} started again: {counts[0]} acknowledged, {counts[1]} repeated, {len(model)} ids, 0 lost"
    )


def kill_at_random(
    killed: dict[str, int], chance: random.Random, broker: Broker, programs: dict[str, list[Program]]
) -> None:
    while sum(killed.values()) < KILLS:
        time.sleep(chance.uniform(0.05, 0.5))
        kind = chance.choices([*killed], [60, 14, 12, 6, 8])[0]
        if kind == "task":
            killed[kind] += kill_a_child(chance.choice(programs["worker"]), chance)
            continue
        if kind == "broker":
            broker.kill()
            broker.start()
        else:
            program = chance.choice([one for one in programs[kind] if one.runs] or programs[kind])
            program.kill(alone=chance.random() < 0.3)
        killed[kind] += 1
