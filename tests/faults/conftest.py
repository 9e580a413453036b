"""The seed of a run, which is printed, and the brokers that may be killed."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifacts import tiny_artifact
from tests.brokers import Broker, RabbitServer, RedisServer, has_rabbitmq, has_redis
from tests.cluster import Cluster, cluster
from tests.services import empty, missing

SHORT = os.environ.get("AKIN_CHAOS", "short") == "short"
SEED = int(os.environ.get("AKIN_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


# The short form kills over both brokers and tries the rest over one each.
SHORT_BROKER = {"test_poison": "redis", "test_stop": "redis", "test_queries": "rabbitmq"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHORT:
        items[:] = [
            item for item in items if (wanted := SHORT_BROKER.get(item.path.stem)) is None or f"[{wanted}" in item.name
        ]


def pytest_report_header() -> str:
    return f"AKIN_SEED={SEED} AKIN_CHAOS={'short' if SHORT else 'long'}"


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    print(f"AKIN_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture(params=["redis", "rabbitmq"])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own: Redis without persistence, or a RabbitMQ node."""
    if request.param == "redis":
        if not has_redis():
            missing("redis-server", "PATH")
        broker: Broker = RedisServer(tmp_path / "redis")
    else:
        if not has_rabbitmq():
            missing("rabbitmq-server", "PATH")
        broker = RabbitServer(tmp_path / "rabbitmq")
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def installation(own_broker: Broker, postgres_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """Nothing of it runs yet but the stand-in for Qdrant; leases and waits are short, so that a test need not be long."""
    with cluster(
        tmp_path,
        encoder=tiny_artifact(),
        database_url=postgres_url,
        broker_url=own_broker.url,
        AKIN_LEASE_SECONDS="4",
        AKIN_REDELIVER_SECONDS="4",
        AKIN_ENCODER_THREADS="1",
        AKIN_BATCH_ITEMS="64",
    ) as made:
        yield made
    empty(postgres_url)
