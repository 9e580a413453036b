"""One engine in a process of its own, driven line by line: `python -m ingest.benchmark.process ENGINE FOLDER THREADS`.

Every line in names a JSON file of texts and the share of them to embed; every line out says how that went.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pass over a set of texts."""

    seconds: float
    tokens: int
    given: int
    memory: int  # bytes, the most the process ever held


class EngineProcess:
    """A started engine; use it as a context manager."""

    def __init__(self, name: str, folder: Path, threads: int, core: int | None) -> None:
        arguments = [sys.executable, "-m", "ingest.benchmark.process", name, str(folder), str(threads)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false" if threads else "true"}
        if threads:
            environment |= {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        if core is not None:
            arguments.append(str(core))
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, texts: Path, share: int = 0, of: int = 1, vectors: Path | None = None) -> None:
        """Start embedding every `of`-th text of a JSON file, from number `share` on."""
        assert self._process.stdin
        question = {"texts": str(texts), "share": share, "of": of, "vectors": str(vectors) if vectors else None}
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # `answer` says why it ended

    def answer(self) -> Run:
        """Wait for what was asked; raises RuntimeError with the engine's own words when it has ended."""
        assert self._process.stdout
        assert self._process.stderr
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().strip().splitlines()
            raise RuntimeError(said[-1] if said else "the engine ended without a word")
        return Run(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def _most_memory() -> int:
    """Bytes this program held at its largest; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    # Not getrusage: its maximum includes the parent that forked us.
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _turned(texts: list[str], times: int) -> list[str]:
    """The texts from another one on each time, so that windows of them hold others and a GPU's calls have new shapes.

    Its libraries may prepare for every shape once, and a catalogue's texts come in new ones all the time. An engine
    that sorts all texts by length at first has the same calls each time.
    """
    first = 37 * times % max(1, len(texts))
    return texts[first:] + texts[:first]


def main() -> None:
    """Serve one engine until the driver goes."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print what they like; answers have a pipe of their own
    name, folder, threads, *core = sys.argv[1:]
    if core:
        os.sched_setaffinity(0, {int(core[0])})
    from ingest.benchmark.peers import open_engine  # noqa: PLC0415 - after pinning: pools are sized at import

    embed, count = open_engine(name, Path(folder), int(threads))
    for asks, line in enumerate(sys.stdin):
        asked: dict[str, Any] = json.loads(line)
        texts = json.loads(Path(asked["texts"]).read_text(encoding="utf-8"))[asked["share"] :: asked["of"]]
        if not asked["vectors"]:
            texts = _turned(texts, asks)
        before = (count.tokens, count.given)
        started = time.perf_counter()
        vectors = embed(texts)
        seconds = time.perf_counter() - started
        if asked["vectors"]:
            np.save(asked["vectors"], vectors)
        tokens, given = count.tokens - before[0], count.given - before[1]
        reply = {"seconds": seconds, "tokens": tokens, "given": given, "memory": _most_memory()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
