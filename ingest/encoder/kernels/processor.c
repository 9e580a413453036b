// Which variant of the kernels this processor and this system can run.

#include <cpuid.h>
#include <stdint.h>
#include <string.h>

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

static int has(unsigned leaf, unsigned sub, int word, unsigned bits) {
  unsigned found[4];
  if (!__get_cpuid_count(leaf, sub, &found[0], &found[1], &found[2], &found[3])) return 0;
  return (found[word] & bits) == bits;
}

// The registers that the system keeps for a thread; XGETBV is there where bit 27 of leaf 1 is.
static uint64_t kept_state(void) {
  if (!has(1, 0, 2, 1u << 27)) return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

// Linux hands out the tiles to a process that asks (ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
static int may_use_tiles(void) {
#ifdef __linux__
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return 0;
#endif
}

static int is_amd(void) {
  unsigned most, name[3];
  return __get_cpuid(0, &most, &name[0], &name[2], &name[1]) && !memcmp(name, "AuthenticAMD", sizeof name);
}

// What these kernels were compiled from: build.py puts it in, library.py compares it.
const char *akin_sources(void) { return AKIN_SOURCES; }

enum { EAX, EBX, ECX, EDX };

// 0: none, 1: AVX-512 with VNNI, 2: bfloat16 as well, 3: AMX as well. What an AMD gains by bfloat16 without AMX, a Xeon
// loses (decision 0012).
int akin_processor(void) {
  const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  const unsigned tiles = 1u << 22 | 1u << 24 | 1u << 25;              // AMX-BF16, AMX-TILE, AMX-INT8
  const uint64_t state = kept_state();
  if ((state & 0xe6) != 0xe6 || !has(7, 0, EBX, avx512) || !has(7, 0, ECX, 1u << 11)) return 0;
  if (!has(7, 1, EAX, 1u << 5)) return 1;
  if ((state & 0x60000) == 0x60000 && has(7, 0, EDX, tiles) && may_use_tiles()) return 3;
  return is_amd() ? 2 : 1;
}
