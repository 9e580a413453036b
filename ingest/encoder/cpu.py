"""What this machine's processor offers to an encoder, and which of its cores a process keeps to."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

SetAffinity = Callable[[int, Iterable[int]], None]
_SET_AFFINITY: SetAffinity | None = getattr(os, "sched_setaffinity", None)


def available_cores() -> int:
    """Cores this process may run on, which containers and tasksets make fewer than the host's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_cores(allowed: Iterable[int], process: int, processes: int) -> set[int]:
    """The cores of process number `process` of `processes`: an equal share, or one in turn where there are too few."""
    cores = sorted(allowed)
    return set(cores[process::processes] or [cores[process % len(cores)]])


def keep_to_own_cores(process: int, processes: int, set_affinity: SetAffinity | None = _SET_AFFINITY) -> bool:
    """Let the calling thread, and those it starts from now on, run on this process's own cores only.

    False, and a logged sentence, where the system does not let a process choose.
    """
    if set_affinity is None:
        logger.warning("this system pins no process to a core; workers share all cores", extra={"worker": process})
        return False
    try:
        set_affinity(0, own_cores(os.sched_getaffinity(0), process, processes))
    except OSError as error:
        logger.warning("the system refused to pin a worker to its cores", extra={"reason": type(error).__name__})
        return False
    return True


def needs_reduced_range(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor's int8 products saturate in 16 bits: x86 without VNNI. Weights then keep 7 bits."""
    try:
        flags = _read_flags(cpu_info)
    except OSError:
        return True  # unknown: 7 bits are right everywhere, only a little coarser
    return bool(flags) and not flags & {"avx512_vnni", "avx_vnni"}


def processor_flags(cpu_info: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What this processor can do, in Linux' words, like avx512_vnni; none where the system does not say."""
    try:
        return _read_flags(cpu_info)
    except OSError:
        return set()


def _read_flags(cpu_info: Path) -> set[str]:
    lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}
