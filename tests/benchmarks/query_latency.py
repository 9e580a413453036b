"""Recommendations over HTTP on the reference films: latency with one client, rate with 16, and Qdrant Edge alone.

Run with `python -m tests.benchmarks.query_latency [--seconds S] [--json FILE]`. The client speaks HTTP/1.1 over plain
sockets, because it shares the machine with the server.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ingest.catalogue import open_catalogue
from ingest.index.protocol import Query
from ingest.settings import load_settings
from serving.live import LiveIndex
from serving.tastes import Tastes
from tests.artifacts import default_artifact
from tests.benchmarks.program import REPOSITORY, Running, command, running, wait_for_quiet
from tests.reference import MOVIE_ATTRIBUTES, reference_data

USERS = 1_000


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """p50 and p99."""
    return {"p50_ms": float(np.percentile(milliseconds, 50)), "p99_ms": float(np.percentile(milliseconds, 99))}


async def ask(akin: Running, users: list[str], clients: int, seconds: float) -> dict[str, float]:
    """Ask for ten recommendations of one user after another from so many connections."""
    deadline = time.perf_counter() + seconds
    times: list[float] = []
    errors = 0

    async def client(offset: int) -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", akin.port)
        turn = offset
        while time.perf_counter() < deadline:
            user = quote(users[turn % len(users)], safe="")
            turn += clients
            started = time.perf_counter()
            writer.write(f"GET /v1/users/{user}/recommendations?limit=10 HTTP/1.1\r\nHost: akin\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append((time.perf_counter() - started) * 1_000)
            errors += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(offset) for offset in range(clients)))
    elapsed = time.perf_counter() - started
    return {**percentiles(times), "requests_per_s": len(times) / elapsed, "requests": len(times), "errors": errors}


def edge_alone(home: Path, encoder: Path, users: list[str]) -> dict[str, float]:
    """The same queries asked of Qdrant Edge directly, in this process."""
    settings = load_settings(home=home, encoder=encoder, attributes=MOVIE_ATTRIBUTES)
    with open_catalogue(settings) as catalogue:
        view = LiveIndex(catalogue.ledger, catalogue.index, catalogue.encoders).current()
        tastes = Tastes(catalogue.ledger, settings)
        queries = []
        for user in users:
            taste = tastes.of_user(view, user, with_seen=True)
            if taste.profile is not None:
                queries.append(Query(text=taste.profile.vector, limit=10, exclude_ids=list(taste.seen)))
        times = []
        for query in queries:
            started = time.perf_counter()
            view.collection.query(query)
            times.append((time.perf_counter() - started) * 1_000)
    return percentiles(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encoder, movies, mapping = default_artifact(), reference_data("movies"), str(REPOSITORY / "tests" / "movies.toml")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with running(home, encoder) as akin:
            command(akin, "ingest", "items", str(movies / "items.parquet"), "--mapping", mapping)
            command(akin, "ingest", "events", str(movies / "events.parquet"), "--mapping", mapping)
            wait_for_quiet(akin)
            users = users_of(home)
            asyncio.run(ask(akin, users, 4, 2.0))
            rounds = [
                (asyncio.run(ask(akin, users, 1, options.seconds)), asyncio.run(ask(akin, users, 16, options.seconds)))
                for _ in range(3)
            ]
            memory = akin.memory_mb()
        figures = {
            "one_client": _median([one for one, _ in rounds]),
            "sixteen_clients": _median([sixteen for _, sixteen in rounds]),
            "edge_alone": edge_alone(home, encoder, users),
            "memory_mb": memory,
        }
    figures["ratio_to_edge"] = figures["one_client"]["p50_ms"] / figures["edge_alone"]["p50_ms"]
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def users_of(home: Path) -> list[str]:
    """Users with at least two events, the latest first."""
    from ingest.store.ledger import open_ledger

    with open_ledger(load_settings(home=home).ledger_url) as ledger:
        return ledger.events.recent_users(USERS)


def show(figures: dict) -> None:
    one, sixteen, edge = figures["one_client"], figures["sixteen_clients"], figures["edge_alone"]
    print(f"one client      p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.2f} ms, {one['requests_per_s']:.0f}/s")
    print(
        f"sixteen clients p50 {sixteen['p50_ms']:.2f} ms, p99 {sixteen['p99_ms']:.2f} ms, "
        f"{sixteen['requests_per_s']:.0f}/s; errors {one['errors'] + sixteen['errors']:.0f}"
    )
    print(
        f"Qdrant Edge     p50 {edge['p50_ms']:.2f} ms, p99 {edge['p99_ms']:.2f} ms; HTTP p50 is {figures['ratio_to_edge']:.1f} times that"
    )
    print(f"memory of the whole process at its highest: {figures['memory_mb']:.0f} MB")


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


if __name__ == "__main__":
    main()
