"""Recommendations over HTTP on the reference data: latency with one client for each strategy, rate with 16 clients.

Run with `python -m tests.benchmarks.query_latency [--of books] [--home FOLDER] [--seconds S] [--json FILE]`; a FOLDER is
filled the first time and used again. Compared with Qdrant Edge alone, and with 10,000 ids excluded in each request. The
client speaks HTTP/1.1 over plain sockets, because it shares the machine with the server.
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
from tests.reference import BOOK_ATTRIBUTES, MOVIE_ATTRIBUTES, reference_data

USERS = 1_000
STRATEGIES = ("mean", "interests", "taste", "blend", "popular", "auto")
ATTRIBUTES = {"books": BOOK_ATTRIBUTES, "movies": MOVIE_ATTRIBUTES}
ROUNDS = 3


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """p50 and p99."""
    return {"p50_ms": float(np.percentile(milliseconds, 50)), "p99_ms": float(np.percentile(milliseconds, 99))}


async def ask(
    akin: Running, users: list[str], clients: int, seconds: float, *, options: str = "limit=10", body: bytes = b""
) -> dict[str, float]:
    """Ask for recommendations of one user after another from so many connections."""
    method = "POST" if body else "GET"
    head_lines = f"Host: akin\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
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
            path = f"/v1/users/{user}/recommendations" + ("" if body else f"?{options}")
            writer.write(f"{method} {path} HTTP/1.1\r\n{head_lines}".encode() + body)
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


def edge_alone(home: Path, encoder: Path, users: list[str], attributes: dict[str, str]) -> dict[str, float]:
    """The queries of `mean` asked of Qdrant Edge directly, in this process."""
    settings = load_settings(home=home, encoder=encoder, attributes=attributes)
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


def filled(akin: Running, home: Path, name: str) -> list[str]:
    """The reference data, with weights learned from its events; returns the users to ask for."""
    data, mapping = reference_data(name), str(REPOSITORY / "tests" / f"{name}.toml")
    done = home / "filled"
    if not done.exists():
        command(akin, "ingest", "items", str(data / "items.parquet"), "--mapping", mapping)
        command(akin, "ingest", "events", str(data / "events.parquet"), "--mapping", mapping)
        wait_for_quiet(akin)
        command(akin, "train-taste")
        time.sleep(30)  # the weights are on their way into the index
        done.touch()
    return users_of(home)


async def every_strategy(akin: Running, users: list[str], seconds: float) -> dict[str, dict[str, float]]:
    """One client for each strategy in turn, several rounds, and the medians of them."""
    excluded = json.dumps({"limit": 10, "exclude_ids": [f"nowhere-{n}" for n in range(10_000)]}).encode()
    arranged = json.dumps({"limit": 10, "diversity": 0.3, "max_per": {"categories": 3}}).encode()
    asked: dict[str, dict] = {name: {"options": f"limit=10&strategy={name}"} for name in STRATEGIES}
    asked |= {"auto, diverse and capped": {"body": arranged}, "auto, 10,000 excluded": {"body": excluded}}
    rounds: dict[str, list] = {name: [] for name in asked}
    for how in asked.values():  # every profile is read once before anything is measured
        await ask(akin, users, 4, 1.0, **how)
    for _ in range(ROUNDS):
        for name, how in asked.items():
            rounds[name].append(await ask(akin, users, 1, seconds, **how))
    return {name: _median(some) for name, some in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", choices=sorted(ATTRIBUTES), default="movies")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--fill-only", action="store_true")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encoder, attributes = default_artifact(), ATTRIBUTES[options.of]
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        with running(home, encoder, attributes) as akin:
            users = filled(akin, home, options.of)
            if options.fill_only:
                return
            strategies = asyncio.run(every_strategy(akin, users, options.seconds))
            sixteen = asyncio.run(ask(akin, users, 16, 2 * options.seconds))
            memory = akin.memory_mb()
        figures = {
            "strategies": strategies,
            "sixteen_clients": sixteen,
            "edge_alone": edge_alone(home, encoder, users, attributes),
            "memory_mb": memory,
        }
    figures["ratio_to_edge"] = strategies["mean"]["p50_ms"] / figures["edge_alone"]["p50_ms"]
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def users_of(home: Path) -> list[str]:
    """Users with at least two events, the latest first."""
    from ingest.store.ledger import open_ledger

    with open_ledger(load_settings(home=home).ledger_url) as ledger:
        return ledger.events.recent_users(USERS)


def show(figures: dict) -> None:
    sixteen, edge, mean = figures["sixteen_clients"], figures["edge_alone"], figures["strategies"]["mean"]
    for name, one in figures["strategies"].items():
        ratio = one["p50_ms"] / mean["p50_ms"]
        print(
            f"{name:25} p50 {one['p50_ms']:6.2f} ms, p99 {one['p99_ms']:6.2f} ms, {ratio:4.1f} x mean, "
            f"{one['requests']:.0f} requests, {one['errors']:.0f} errors"
        )
    print(
        f"sixteen clients, auto     p50 {sixteen['p50_ms']:6.2f} ms, p99 {sixteen['p99_ms']:6.2f} ms, "
        f"{sixteen['requests_per_s']:.0f}/s; {sixteen['errors']:.0f} errors"
    )
    print(
        f"Qdrant Edge, mean         p50 {edge['p50_ms']:6.2f} ms, p99 {edge['p99_ms']:6.2f} ms; "
        f"HTTP p50 is {figures['ratio_to_edge']:.1f} times that"
    )
    print(f"memory of the whole process at its highest: {figures['memory_mb']:.0f} MB")


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


if __name__ == "__main__":
    main()
