"""From the API to searchable, with two worker processes over a broker, beside what the encoder alone does.

    python -m tests.benchmarks.cluster_ingest redis|rabbitmq [ITEMS]

The encoder's own rate is that of two one-thread processes over the same texts, measured right before and right after.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import httpx

from ingest.chunks import chunks
from ingest.encoder.artifact import read_artifact
from ingest.encoder.onnx import OnnxEncoder
from ingest.store.ledger import open_ledger
from tests.artifacts import default_artifact
from tests.brokers import RabbitServer, RedisServer
from tests.cluster import cluster
from tests.services import postgres_database

WORDS = [
    "amber",
    "harbor",
    "river",
    "lantern",
    "winter",
    "orchard",
    "copper",
    "falcon",
    "meadow",
    "silver",
    "timber",
    "violet",
    "canyon",
    "ember",
    "glacier",
]
WARM = 64


def texts(n: int) -> list[str]:
    """Texts of about 94 tokens, none twice."""
    chance = Random(1)
    return [" ".join([f"text {k}", *chance.choices(WORDS, k=75)]) for k in range(n)]


def embed(some: list[str], go: Any, ready: Any) -> None:
    with OnnxEncoder(read_artifact(default_artifact()), threads=1) as encoder:
        encoder.embed(some[:8])
        ready.release()
        go.wait()
        encoder.embed(some)


def encoder_rate(some: list[str]) -> float:
    """Texts/s of two processes of one thread each."""
    context = multiprocessing.get_context("spawn")
    go, ready = context.Event(), context.Semaphore(0)
    halves = [some[::2], some[1::2]]
    processes = [context.Process(target=embed, args=(half, go, ready)) for half in halves]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    began = time.monotonic()
    go.set()
    for process in processes:
        process.join()
    return len(some) / (time.monotonic() - began)


def ingest_rate(kind: str, some: list[str]) -> float:
    """Items/s from the first request until nothing is pending."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, postgres_database() as database:
        broker = RedisServer(Path(folder) / "redis") if kind == "redis" else RabbitServer(Path(folder) / "rabbitmq")
        broker.start()
        try:
            urls = {"database_url": database, "broker_url": broker.url}
            with cluster(Path(folder), encoder=default_artifact(), keeps_points=False, **urls) as installation:
                for _ in range(2):
                    installation.start_worker("--concurrency", "1", AKIN_ENCODER_THREADS="1", AKIN_BATCH_ITEMS="256")
                installation.start_beat()
                installation.start_api(AKIN_BATCH_ITEMS="256")
                installation.wait_until_ready()
                put(installation.urls[0], [f"warm {n}" for n in range(2 * WARM)], "warm")
                installation.wait_until_quiet()
                began = time.monotonic()
                put(installation.urls[0], some, "i")
                with open_ledger(database) as ledger:
                    while ledger.pending.count():
                        time.sleep(0.2)
                return len(some) / (time.monotonic() - began)
        finally:
            broker.kill()


def put(url: str, some: list[str], prefix: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        for page in chunks(enumerate(some), 500):
            items = [{"item_id": f"{prefix}{k}", "text": text} for k, text in page]
            client.post("/v1/items:batch", json={"items": items}).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("broker", choices=["redis", "rabbitmq"])
    parser.add_argument("items", type=int, nargs="?", default=12_000)
    chosen = parser.parse_args()
    wanted = texts(chosen.items)
    before = encoder_rate(wanted[::2])
    through = ingest_rate(chosen.broker, wanted)
    after = encoder_rate(wanted[1::2])
    alone = len(wanted) / (len(wanted) / 2 / before + len(wanted) / 2 / after)
    figures = {"broker": chosen.broker, "encoder": [round(before), round(after)], "ingest": round(through)}
    print(json.dumps(figures | {"share": round(through / alone, 3)}))


if __name__ == "__main__":
    main()
