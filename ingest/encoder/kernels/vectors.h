// Sixteen floats at a time: the functions between products, and what is common to all variants.

#pragma once

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define ALIGNED __attribute__((aligned(64)))
#define ALWAYS static inline __attribute__((always_inline))

static inline int64_t up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// x * Phi(x), off by 0.00028 at most. Phi is 0.5 + z * P(z^2), z being x cut off at 3.8, and exactly 0 and 1 from there
// on. P is a least-squares fit, weighted until its largest errors were alike.
static inline __m512 gelu(__m512 x) {
  const __m512 edge = _mm512_set1_ps(3.8f);
  const float p[] = {3.98291336e-01f, -6.51383091e-02f, 9.04650331e-03f, -8.74498370e-04f,
                     5.46263811e-05f, -1.95709598e-06f, 3.02556280e-08f};
  __m512 z = _mm512_max_ps(_mm512_min_ps(x, edge), _mm512_sub_ps(_mm512_setzero_ps(), edge));
  __m512 square = _mm512_mul_ps(z, z), sum = _mm512_set1_ps(p[6]);
  for (int i = 5; i >= 0; i--) sum = _mm512_fmadd_ps(sum, square, _mm512_set1_ps(p[i]));
  return _mm512_mul_ps(x, _mm512_fmadd_ps(z, sum, _mm512_set1_ps(0.5f)));
}

// 2^x of x up to 0, off by 7e-5 of itself. A large number added leaves the whole part in the last bits, which go into the
// exponent; the rest goes into a least-squares fit of 2^x between -0.5 and 0.5, weighted until its largest errors were
// alike.
static inline __m512 power_of_two(__m512 x) {
  const float p[] = {9.99928074e-01f, 6.93260999e-01f, 2.42611117e-01f, 5.51715980e-02f};
  const __m512 large = _mm512_set1_ps(12582912.0f);  // 1.5 * 2^23
  x = _mm512_max_ps(x, _mm512_set1_ps(-126.0f));
  const __m512 shifted = _mm512_add_ps(x, large), rest = _mm512_sub_ps(x, _mm512_sub_ps(shifted, large));
  __m512 sum = _mm512_set1_ps(p[3]);
  for (int i = 2; i >= 0; i--) sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(p[i]));
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(sum), exponent));
}

// Rounded to the nearest byte, cut off at 0 and 255.
static inline void store_bytes(uint8_t *to, __m512 x) {
  __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
  _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(whole));
}

// The same of 64 floats in order.
static inline __m512i pack_bytes(const __m512 x[4]) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i low = _mm512_packs_epi32(_mm512_cvtps_epi32(x[0]), _mm512_cvtps_epi32(x[1]));
  const __m512i high = _mm512_packs_epi32(_mm512_cvtps_epi32(x[2]), _mm512_cvtps_epi32(x[3]));
  return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
}

// The first n of sixteen.
static inline __mmask16 first_of(int64_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }

// Rows become columns, of 16 x 16 values of 32 bits.
static inline void transpose(__m512i rows[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}
