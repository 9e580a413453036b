"""Servers that tests need: named by the environment, else on their standard ports, else started from what is installed.

Else in containers, where those can be run; else a test that needs one is skipped, and fails in CI.
A session gets a database, a Redis number or a RabbitMQ virtual host of its own, and leaves nothing behind.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kombu
import pytest
import redis
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests.brokers import RabbitServer, RedisServer, has_rabbitmq, has_redis
from tests.containers import container, container_engine
from tests.processes import Program, answers, environment_with, free_port, soon

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
POSTGRES_PORT, REDIS_PORT, RABBITMQ_PORT = 5432, 6379, 5672
POSTGRES_IMAGE, REDIS_IMAGE, RABBITMQ_IMAGE = "postgres:15-alpine", "redis:7-alpine", "rabbitmq:3.13-alpine"
CLAIM = "claimed by a test session of akin"


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of an empty database."""
    with _postgres_server() as server:
        name = f"akin_test_{uuid.uuid4().hex[:12]}"
        engine = _engine(server)
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            engine.dispose()


@contextmanager
def redis_url() -> Iterator[str]:
    """The URL of a Redis database that nobody else uses."""
    if "AKIN_TEST_REDIS_URL" in os.environ:
        yield os.environ["AKIN_TEST_REDIS_URL"]
    elif answers(REDIS_PORT):
        with _free_redis_number() as number:
            yield f"redis://127.0.0.1:{REDIS_PORT}/{number}"
    elif has_redis():
        with tempfile.TemporaryDirectory() as folder:
            server = RedisServer(Path(folder))
            server.start()
            yield server.url
            server.kill()
    elif container_engine():
        with container(REDIS_IMAGE, REDIS_PORT) as port:
            yield f"redis://127.0.0.1:{port}/0"
    else:
        missing("Redis", "AKIN_TEST_REDIS_URL")


@contextmanager
def rabbitmq_url() -> Iterator[str]:
    """The URL of a RabbitMQ virtual host that nobody else uses."""
    if "AKIN_TEST_RABBITMQ_URL" in os.environ:
        yield os.environ["AKIN_TEST_RABBITMQ_URL"]
    elif answers(RABBITMQ_PORT) and _rabbitmqctl("list_vhosts"):
        host = f"akin_test_{uuid.uuid4().hex[:12]}"
        _rabbitmqctl("add_vhost", host)
        _rabbitmqctl("set_permissions", "-p", host, "guest", ".*", ".*", ".*")
        yield f"amqp://guest:guest@127.0.0.1:{RABBITMQ_PORT}/{host}"
        _rabbitmqctl("delete_vhost", host)
    elif has_rabbitmq():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            server = RabbitServer(Path(folder))
            server.start()
            yield server.url
            server.kill()
    elif container_engine():
        with container(RABBITMQ_IMAGE, RABBITMQ_PORT) as port:
            url = f"amqp://guest:guest@127.0.0.1:{port}//"
            assert soon(lambda: _takes_messages(url), 120)
            yield url
    else:
        missing("RabbitMQ", "AKIN_TEST_RABBITMQ_URL")


def empty(url: str) -> None:
    """Take everything out of a PostgreSQL database."""
    engine = _engine(make_url(url))
    with engine.connect() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def end_sessions(url: str) -> None:
    """Break every connection to a PostgreSQL database, as its restart or a network does that forgets them."""
    engine = _engine(make_url(url))
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        assert soon(lambda: connection.execute(text(f"SELECT count(*) {others}")).scalar() == 0)
    engine.dispose()


def missing(what: str, variable: str) -> None:
    """Skip on a laptop, where a server may be absent; fail in CI, where a skipped suite would go unnoticed."""
    sentence = f"{what} neither answers nor is installed, and no container engine runs; start one, or name another in {variable}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


@contextmanager
def _postgres_server() -> Iterator[URL]:
    named = os.environ.get("AKIN_TEST_DATABASE_URL")
    server = make_url(named or POSTGRES)
    programs = _postgres_programs()
    if _connects(server):
        yield server
    elif named is None and programs is not None:
        with _own_postgres(programs) as own:
            yield own
    elif named is None and container_engine():
        with container(POSTGRES_IMAGE, POSTGRES_PORT, {"POSTGRES_HOST_AUTH_METHOD": "trust"}) as port:
            own = server.set(port=port)
            assert soon(lambda: _connects(own), 60)
            yield own
    else:
        missing(f"PostgreSQL at {server.host}:{server.port}", "AKIN_TEST_DATABASE_URL")


@contextmanager
def _own_postgres(programs: Path) -> Iterator[URL]:
    user = "postgres" if os.getuid() == 0 else None  # PostgreSQL does not run as root
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        if user:
            shutil.chown(folder, user)
        initialise = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(initialise, check=True, capture_output=True, user=user, cwd=folder)
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-c", "unix_socket_directories="]
        program = Program("postgres", command, environment_with({}), Path(folder) / "postgres.log", user=user)
        program.start()
        server = make_url(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres")
        assert soon(lambda: _connects(server), 30), program.said()
        yield server
        program.kill()


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _connects(server: URL) -> bool:
    engine = _engine(server)
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


def _engine(server: URL) -> Engine:
    return create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})


def _takes_messages(url: str) -> bool:
    try:
        with kombu.Connection(url, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1)
    except (OSError, kombu.exceptions.OperationalError):
        return False
    return True


@contextmanager
def _free_redis_number() -> Iterator[int]:
    for number in range(15, 0, -1):
        with redis.Redis(port=REDIS_PORT, db=number) as client:
            if client.dbsize() == 0 and client.set(CLAIM, 1, nx=True, ex=3_600):
                yield number
                client.flushdb()
                return
    missing("a free database number of the Redis on its standard port", "AKIN_TEST_REDIS_URL")


def _rabbitmqctl(*arguments: str) -> bool:
    program = shutil.which("rabbitmqctl")
    if program is None:
        return False
    return subprocess.run([program, *arguments], capture_output=True, check=False, timeout=60).returncode == 0
