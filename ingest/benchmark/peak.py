"""How many 8-bit multiply-adds per second this machine can do: the ceiling that throughput is a share of."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.encoder.cpu import processor_flags

_TRIES = 20
_LOOP = r"""
#include <stdio.h>
#include <time.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
%(before)s
int main(void) {
  struct timespec from, to;
  const long rounds = %(rounds)s;
  %(start)s
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long r = 0; r < rounds; r++) { %(round)s }
  clock_gettime(CLOCK_MONOTONIC, &to);
  double seconds = (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) * 1e-9;
  printf("%%.6e\n", %(macs)s * rounds / seconds);
  %(end)s
}
"""
_DOT = _LOOP % {
    "before": """
#define DOT(sum) "vpdpbusd %[left], %[right], %[" #sum "]\\n"
#define SUM(sum) [sum] "+v"(sum)
""",
    "rounds": "30000000",
    # Variables of their own: an array would be stored to memory after every product.
    "start": """
  __m512i left = _mm512_set1_epi8(1), right = _mm512_set1_epi8(2), zero = _mm512_setzero_si512();
  __m512i a = zero, b = zero, c = zero, d = zero, e = zero, f = zero;
  __m512i g = zero, h = zero, i = zero, j = zero, k = zero, l = zero;
""",
    "round": """
    __asm__ volatile(DOT(a) DOT(b) DOT(c) DOT(d) DOT(e) DOT(f) DOT(g) DOT(h) DOT(i) DOT(j) DOT(k) DOT(l)
      : SUM(a), SUM(b), SUM(c), SUM(d), SUM(e), SUM(f), SUM(g), SUM(h), SUM(i), SUM(j), SUM(k), SUM(l)
      : [left] "v"(left), [right] "v"(right));
""",
    "macs": "64.0 * 12",
    "end": "return _mm512_reduce_add_epi32(a) == 7;",
}
_TILES = _LOOP % {
    "before": "",
    "rounds": "5000000",
    "start": """
  static const unsigned char shape[64] __attribute__((aligned(64))) = {
    [0] = 1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
    [48] = 16, 16, 16, 16, 16, 16, 16, 16};
  if (syscall(SYS_arch_prctl, 0x1023, 18)) return 1; /* tiles are handed out to who asks */
  _tile_loadconfig(shape);
""",
    "round": """
    _tile_dpbusd(0, 4, 6); _tile_dpbusd(1, 4, 7); _tile_dpbusd(2, 5, 6); _tile_dpbusd(3, 5, 7);
""",
    "macs": "16384.0 * 4",
    "end": "_tile_release(); return 0;",
}


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Multiply-adds per second of all cores together, and how that was found.

    Where the processor has tiles (AMX) they can do several times as many, which is `tiles_per_s`.
    """

    macs_per_s: float
    method: str
    tiles_per_s: float | None = None

    def higher(self, other: "Peak | None") -> "Peak":
        """What is higher of two measurements: other work on a machine only ever lowers them."""
        if other is None:
            return self
        tiles = max((found for found in (self.tiles_per_s, other.tiles_per_s) if found), default=None)
        return replace(self, macs_per_s=max(self.macs_per_s, other.macs_per_s), tiles_per_s=tiles)


def measure_peak(cores: list[int]) -> Peak | None:
    """Run a loop of VPDPBUSD, and one of TDPBUSD, on every core at once; None without a compiler or AVX-512 VNNI."""
    flags = processor_flags()
    dots = _measured(_DOT, "-mavx512f -mavx512vnni", cores) if "avx512_vnni" in flags else None
    if dots is None:
        return None
    tiles = _measured(_TILES, "-mamx-tile -mamx-int8", cores) if "amx_int8" in flags else None
    return Peak(macs_per_s=dots, method=f"VPDPBUSD in a C loop on {len(cores)} cores at once", tiles_per_s=tiles)


def _measured(source: str, flags: str, cores: list[int]) -> float | None:
    """The best of some tries; None where it cannot be compiled or run."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file, program = Path(folder) / "peak.c", Path(folder) / "peak"
        file.write_text(source, encoding="ascii")
        build = [compiler, "-O2", *flags.split(), "-o", str(program), str(file)]
        if subprocess.run(build, capture_output=True, check=False).returncode:  # noqa: S603 - fixed arguments
            return None
        return max(_on_all(program, cores) for _ in range(_TRIES)) or None


def _on_all(program: Path, cores: list[int]) -> float:
    running = [_start(program, core) for core in cores]
    return sum(float(process.communicate()[0] or 0) for process in running)


def _start(program: Path, core: int) -> subprocess.Popen[str]:
    process = subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True)  # noqa: S603 - built above
    os.sched_setaffinity(process.pid, {core})
    return process
