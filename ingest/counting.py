"""Lets the processes of one program count together. Imports nothing that counts: it has to come before."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name


@contextmanager
def counting_together() -> Iterator[None]:
    """Let this process and those it starts count into one folder; for programs that fork or spawn their workers.

    Enter it before anything that counts is imported: prometheus_client decides at its import. A folder that the
    environment names already is used as it is.
    """
    if SHARED_FOLDER in os.environ:
        yield
        return
    if "prometheus_client" in sys.modules:
        raise RuntimeError("counting_together comes too late: prometheus_client is imported already")
    with tempfile.TemporaryDirectory(prefix="akin-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[SHARED_FOLDER]
