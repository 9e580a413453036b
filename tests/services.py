"""Servers that tests need: a database of a test session's own, made before it and dropped after it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

DEFAULT_SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of an empty database on the server that AKIN_TEST_DATABASE_URL names, or on this machine's."""
    server = make_url(os.environ.get("AKIN_TEST_DATABASE_URL", DEFAULT_SERVER))
    name = f"akin_test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        except OperationalError:
            missing(f"PostgreSQL at {server.host}:{server.port}", "AKIN_TEST_DATABASE_URL")
        yield server.set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()


def missing(what: str, variable: str) -> None:
    """Skip on a laptop, where a server may be absent; fail in CI, where a skipped suite would go unnoticed."""
    sentence = f"{what} does not answer; start one, or name another in {variable}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)
