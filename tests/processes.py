"""Programs that tests start, kill and start again: each in a process group of its own, with a log and a free port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def soon(true: Callable[[], object], seconds: float = 30, every: float = 0.05) -> bool:
    """Whether it becomes true within that time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


@dataclass
class Program:
    """A command that can be started again after it was killed."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    user: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[psutil.Process]:
        """The processes it has started: those that run tasks, where it is a worker."""
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self, *, alone: bool = False) -> None:
        """Kill -9 the group; `alone` only the process itself, as the kernel does when memory runs out."""
        if self.process is None:
            return
        try:
            if alone:
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def terminate(self, seconds: float = 40) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def said(self, most: int = 4_000) -> str:
        return self.log.read_text(errors="replace")[-most:]


def akin_program(
    folder: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, module: str = "akin"
) -> Program:
    command = [sys.executable, "-m", module, *arguments]
    return Program(name, command, environment, folder / f"{name}.log")


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without akin's own variables, and with these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AKIN_")}
    return {**inherited, "PYTHONPATH": str(ROOT), **variables}
