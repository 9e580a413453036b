"""Private Redis and RabbitMQ servers, started from installed binaries: only what is one's own may be killed."""

import os
import shutil
from pathlib import Path

from tests.processes import Program, answers, environment_with, free_port, soon

RABBIT_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the wrapper on the path would change the user


class RedisServer:
    """A Redis of one's own, without persistence unless told otherwise."""

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        folder.mkdir(parents=True, exist_ok=True)
        how = (
            ["--appendonly", "yes", "--appendfsync", "everysec"] if persistent else ["--save", "", "--appendonly", "no"]
        )
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), *how]
        self.program = Program("redis", command, environment_with({}), folder / "redis.log")

    def start(self) -> None:
        self.program.start()
        assert soon(lambda: answers(self.port), 20), self.program.said()

    def kill(self) -> None:
        self.program.kill()


class RabbitServer:
    """A RabbitMQ node of one's own; its messages survive it."""

    def __init__(self, folder: Path) -> None:
        self.port, distribution = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        variables = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"akin{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        }
        self.program = Program("rabbitmq", [str(RABBIT_SERVER)], environment_with(variables), folder / "rabbitmq.log")

    def start(self) -> None:
        self.program.start()
        assert soon(lambda: answers(self.port), 150), self.program.said()

    def kill(self) -> None:
        self.program.kill()


Broker = RedisServer | RabbitServer


def has_redis() -> bool:
    return shutil.which("redis-server") is not None


def has_rabbitmq() -> bool:
    return RABBIT_SERVER.exists() and os.access(RABBIT_SERVER, os.X_OK)
