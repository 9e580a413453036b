"""An item that kills whoever embeds it is set aside after four attempts, and harms none of its batch."""

import time
from pathlib import Path

import httpx
import pytest

from ingest.store.ledger import open_ledger
from tests.cluster import Cluster
from tests.processes import soon

ITEMS, POISON = 256, 100


@pytest.mark.timeout(240)
def test_one_of_256_is_set_aside_and_the_others_are_found(installation: Cluster, tmp_path: Path) -> None:
    count = tmp_path / "embedded"
    fault = {"FAULT_POISON": "hemlock", "FAULT_EMBEDDED": str(count), "AKIN_BATCH_ITEMS": "256"}
    for _ in range(2):
        installation.start_with_fault("worker", "--concurrency", "1", **fault)
    installation.start_beat(AKIN_BATCH_ITEMS="256")
    installation.start_api(AKIN_BATCH_ITEMS="256")
    installation.wait_until_ready()

    began = time.monotonic()
    items = [{"item_id": f"i{n}", "title": f"{'hemlock' if n == POISON else 'river'} {n}"} for n in range(ITEMS)]
    answer = httpx.post(f"{installation.urls[0]}/v1/items:batch", json={"items": items}, timeout=30).json()

    def job() -> dict[str, object]:
        return httpx.get(f"{installation.urls[0]}/v1/jobs/{answer['job_id']}", timeout=30).json()

    assert soon(lambda: str(job()["state"]).startswith("done"), 150, every=0.2), (job(), installation.said())
    seconds = time.monotonic() - began
    with open_ledger(installation.environment["AKIN_DATABASE_URL"]) as ledger:
        [aside] = ledger.pending.set_aside()
        live = ledger.generations.live()
        assert live is not None
        assert ledger.placements.count(live.name) == ITEMS - 1
    assert aside.item_id == f"i{POISON}"
    assert aside.attempts <= 4
    assert "lost" in aside.reason
    embedded = sum(map(int, count.read_text().split()))
    assert embedded <= 2 * ITEMS
    print(
        f"{ITEMS - 1} placed, 1 set aside after {aside.attempts} attempts, {embedded} texts embedded, {seconds:.0f} s"
    )
