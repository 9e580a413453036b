"""How many tokens a call of the model should hold on this processor: tried once, kept beside the artifact."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ingest.durable import write_durably
from ingest.encoder.artifact import TUNING
from ingest.encoder.tokens import Ids

BUDGETS = (128, 256, 384, 512, 768, 1024)
_LENGTH = 16  # tokens of the texts that are tried: longer ones fill a call alone
_ROUNDS = 3
_NEARLY = 1.02  # so much slower than the best still counts as the best


def quickest(budgets: Sequence[int], run: Callable[[Ids], object]) -> int:
    """The least of `budgets` that is nearly as fast a token as the best; `run` is given `(n, 16)` ids."""
    calls = {budget: np.full((max(1, budget // _LENGTH), _LENGTH), 1, np.int64) for budget in budgets}
    best = dict.fromkeys(budgets, float("inf"))
    run(calls[budgets[0]])  # the first call allocates
    for _ in range(_ROUNDS):  # in turns: what disturbs one disturbs all
        for budget, ids in calls.items():
            started = time.perf_counter()
            run(ids)
            best[budget] = min(best[budget], (time.perf_counter() - started) / ids.size)
    least = min(best.values())
    return min(budget for budget in budgets if best[budget] <= least * _NEARLY)


def read_budget(folder: Path, engine: str) -> int | None:
    """What was found best for the artifact in `folder` with that engine on this processor; None if nothing was."""
    try:
        found = json.loads((folder / TUNING).read_text(encoding="utf-8"))
        measured = (found["processor"], found["engine"]) == (processor(), engine)
        return int(found["tokens_per_call"]) if measured else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_budget(folder: Path, engine: str, tokens: int) -> None:
    """Write down what was found best."""
    found = {"processor": processor(), "engine": engine, "tokens_per_call": tokens}
    write_durably(folder / TUNING, json.dumps(found).encode())


def processor(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's kind in words; figures of another kind are not believed."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "cpu family"))]
    return " ".join(dict.fromkeys(names)) or platform.processor() or platform.machine()
