"""Fixtures that several suites share, and how generated tests run. Sockets but loopback are closed in pyproject.toml."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from ingest.settings import Settings
from ingest.store.ledger import Ledger, open_ledger
from tests.services import postgres_database, rabbitmq_url, redis_url

# Shared cores are slow now and then, which says nothing about the code: no deadlines. CI tries the same examples each
# time, so that a red build is about the change it shows.
hypothesis_settings.register_profile("laptop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("ci", parent=hypothesis_settings.get_profile("laptop"), derandomize=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI", "").lower() == "true" else "laptop")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an installation under `tmp_path` that writes however full the disk is."""
    return Settings(home=tmp_path / "home", min_free_bytes=0, encoder_threads=1, attributes={"year": "integer"})


@pytest.fixture
def sqlite_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger of that installation."""
    with open_ledger(settings.ledger_url) as ledger:
        yield ledger


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL database of this session's own."""
    with postgres_database() as url:
        yield url


@pytest.fixture(scope="session")
def redis_broker() -> Iterator[str]:
    """A Redis database of this session's own."""
    with redis_url() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_broker() -> Iterator[str]:
    """A RabbitMQ virtual host of this session's own."""
    with rabbitmq_url() as url:
        yield url
