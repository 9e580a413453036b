"""How many 8-bit multiply-adds per second this machine can do: the ceiling that throughput is a share of."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_TRIES = 20
_SOURCE = r"""
#include <stdio.h>
#include <time.h>
#include <immintrin.h>
#define DOT(sum) "vpdpbusd %[left], %[right], %[" #sum "]\n"
#define SUM(sum) [sum] "+v"(sum)
int main(void) {
  __m512i left = _mm512_set1_epi8(1), right = _mm512_set1_epi8(2), zero = _mm512_setzero_si512();
  // Variables of their own: an array would be stored to memory after every product.
  __m512i a = zero, b = zero, c = zero, d = zero, e = zero, f = zero;
  __m512i g = zero, h = zero, i = zero, j = zero, k = zero, l = zero;
  struct timespec from, to;
  const long rounds = 30000000;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long r = 0; r < rounds; r++) {
    __asm__ volatile(DOT(a) DOT(b) DOT(c) DOT(d) DOT(e) DOT(f) DOT(g) DOT(h) DOT(i) DOT(j) DOT(k) DOT(l)
      : SUM(a), SUM(b), SUM(c), SUM(d), SUM(e), SUM(f), SUM(g), SUM(h), SUM(i), SUM(j), SUM(k), SUM(l)
      : [left] "v"(left), [right] "v"(right));
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  double seconds = (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) * 1e-9;
  printf("%.6e\n", 64.0 * 12 * rounds / seconds);
  return _mm512_reduce_add_epi32(a) == 7;
}
"""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Multiply-adds per second of all cores together, and how that was found."""

    macs_per_s: float
    method: str


def measure_peak(cores: list[int]) -> Peak | None:
    """Run a loop of VPDPBUSD on every core at once; None where there is no compiler or no AVX-512 VNNI."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    cpu_info = Path("/proc/cpuinfo")
    if compiler is None or not cpu_info.is_file() or "avx512_vnni" not in cpu_info.read_text(encoding="utf-8"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "peak.c", Path(folder) / "peak"
        source.write_text(_SOURCE, encoding="ascii")
        build = [compiler, "-O2", "-mavx512f", "-mavx512vnni", "-o", str(program), str(source)]
        if subprocess.run(build, capture_output=True, check=False).returncode:  # noqa: S603 - fixed arguments
            return None
        best = max(_on_all(program, cores) for _ in range(_TRIES))  # a ceiling: whatever disturbs only lowers it
    return Peak(macs_per_s=best, method=f"VPDPBUSD in a C loop on {len(cores)} cores at once")


def _on_all(program: Path, cores: list[int]) -> float:
    running = [_start(program, core) for core in cores]
    return sum(float(process.communicate()[0]) for process in running)


def _start(program: Path, core: int) -> subprocess.Popen[str]:
    process = subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True)  # noqa: S603 - built above
    os.sched_setaffinity(process.pid, {core})
    return process
