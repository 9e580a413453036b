"""What this machine's processor offers to an encoder. Asks the operating system; sets nothing."""

import os
from pathlib import Path


def available_cores() -> int:
    """Cores this process may run on, which containers and tasksets make fewer than the host's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def needs_reduced_range(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor's int8 products saturate in 16 bits: x86 without VNNI. Weights then keep 7 bits."""
    try:
        text = cpu_info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # unknown: 7 bits are right everywhere, only a little coarser
    flags = {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()}
    return bool(flags) and not flags & {"avx512_vnni", "avx_vnni"}
