"""Servers in containers, for machines where none answers and none is installed, but Docker or Podman runs."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from tests.processes import answers, soon

SECONDS = 300  # the image may have to be fetched first


@cache
def container_engine() -> str | None:
    """The program that runs containers, when it can: a command without its daemon cannot."""
    for name in ("docker", "podman"):
        program = shutil.which(name)
        if program and subprocess.run([program, "info"], capture_output=True, check=False, timeout=60).returncode == 0:
            return program
    return None


@contextmanager
def container(image: str, port: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """The port of this machine at which `port` of a new container answers; the container is gone afterwards."""
    engine = container_engine()
    assert engine is not None
    variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    name = _said(engine, "run", "--detach", "--rm", f"--publish=127.0.0.1::{port}", *variables, image)
    try:
        # "127.0.0.1:49153", a line for each address
        here = int(_said(engine, "port", name, str(port)).splitlines()[0].rpartition(":")[2])
        assert soon(lambda: answers(here), 60), _said(engine, "logs", name)
        yield here
    finally:
        _said(engine, "rm", "--force", "--volumes", name)


def _said(engine: str, *arguments: str) -> str:
    done = subprocess.run([engine, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, f"{engine} {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()
