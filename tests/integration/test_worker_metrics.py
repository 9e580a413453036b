"""A worker of several processes, asked on its own port: its processes add up, and the ledger's figures are the API's."""

import httpx
import pytest

from tests.artifacts import default_artifact
from tests.cluster import cluster
from tests.processes import free_port, soon
from tests.services import empty

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_worker_s_processes_count_together_beside_the_api(tmp_path, postgres_url, redis_broker):
    port = free_port()
    with cluster(tmp_path, encoder=default_artifact(), database_url=postgres_url, broker_url=redis_broker) as made:
        made.start_beat()
        made.start_worker("--concurrency", "2", AKIN_METRICS_PORT=str(port))
        made.start_api()
        made.wait_until_ready()
        for batch in range(8):
            items = [{"item_id": f"{batch}-{n}", "title": f"title {batch} {n}"} for n in range(4)]
            assert httpx.post(f"{made.urls[0]}/v1/items:batch", json={"items": items}).status_code == 202
        made.wait_until_quiet()
        placed = 'akin_reconciled_items_total{outcome="placed"}'
        assert soon(lambda: figures(f"http://127.0.0.1:{port}")[placed] >= 32), made.said()
        worker, api = figures(f"http://127.0.0.1:{port}"), figures(made.urls[0])
        assert worker["akin_embedded_texts_total"] >= 32
        assert worker['akin_items{state="total"}'] == api['akin_items{state="total"}'] == 32
        assert worker["akin_queue_messages"] == 0
        assert api[placed] == 0  # it places nothing itself
    empty(postgres_url)


def figures(url):
    text = httpx.get(f"{url}/metrics", timeout=10).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("akin_")]
    return {name: float(value) for name, value in lines}
