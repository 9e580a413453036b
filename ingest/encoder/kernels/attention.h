// One head of one text: softmax(queries * keys) * values, given and worked out in floats or in bfloat16.

#pragma once

#include <string.h>

#include "products.h"
#include "vectors.h"

// A head's columns of (tokens, stride) numbers, `size` of them. Rows behind the tokens' may be read, to a multiple of 32.
struct head {
  const number *queries, *keys, *values;
  int64_t stride, tokens, size;
  int64_t asked;  // the first so many tokens' results are wanted
};

// Results go out as bytes, x * factor + zero, `stride` from one row to the next.
struct mixed {
  uint8_t *first;
  int64_t stride;
  float factor, zero;
};

static inline int64_t attention_scratch(int64_t tokens, int64_t size) {
  int64_t padded = up_to(tokens, 32);
  return padded * size * 2 * sizeof(number) + 16 * padded * (4 + sizeof(number));
}

// Scores in base 2 become shares that are not yet divided by their sum; returns 1 / that sum. `scores` may be `shares`.
// Up to a multiple of 32, shares of what is no token are zero.
ALWAYS float shares_of(const float *scores, int64_t tokens, number *shares) {
  const int64_t whole = tokens / 32 * 32, left = tokens - whole;
  const __mmask16 filled = first_of(left), more = first_of(left > 16 ? left - 16 : 0);
  // Two at a time, as each waits for the one before.
  __m512 most = _mm512_set1_ps(-INFINITY), most_more = most, sum = _mm512_setzero_ps(), sum_more = sum;
  for (int64_t i = 0; i < whole; i += 32) {
    most = _mm512_max_ps(most, _mm512_load_ps(scores + i));
    most_more = _mm512_max_ps(most_more, _mm512_load_ps(scores + i + 16));
  }
  most = _mm512_mask_max_ps(most, filled, most, _mm512_maskz_load_ps(filled, scores + whole));
  most_more = _mm512_mask_max_ps(most_more, more, most_more, _mm512_maskz_load_ps(more, scores + whole + 16));
  const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(_mm512_max_ps(most, most_more)));
  for (int64_t i = 0; i < whole; i += 32) {
    const __m512 one = power_of_two(_mm512_sub_ps(_mm512_load_ps(scores + i), top));
    const __m512 other = power_of_two(_mm512_sub_ps(_mm512_load_ps(scores + i + 16), top));
    sum = _mm512_add_ps(sum, one), sum_more = _mm512_add_ps(sum_more, other);
    store_two(shares + i, one, other);
  }
  if (left) {
    __m512 one = power_of_two(_mm512_sub_ps(_mm512_maskz_load_ps(filled, scores + whole), top)), other = sum;
    if (more) other = power_of_two(_mm512_sub_ps(_mm512_maskz_load_ps(more, scores + whole + 16), top));
    one = _mm512_maskz_mov_ps(filled, one), other = _mm512_maskz_mov_ps(more, other);
    sum = _mm512_add_ps(sum, one), sum_more = _mm512_add_ps(sum_more, other);
    store_two(shares + whole, one, other);
  }
  return 1.0f / _mm512_reduce_add_ps(_mm512_add_ps(sum, sum_more));
}

ALWAYS void store_mixed(const struct mixed *to, int64_t row, int64_t column, __m512 x, float divided) {
  x = _mm512_mul_ps(x, _mm512_set1_ps(divided));
  x = _mm512_fmadd_ps(x, _mm512_set1_ps(to->factor), _mm512_set1_ps(to->zero));
  store_bytes(to->first + row * to->stride + column, x);
}

#ifdef BF16

#define TILE 1024  // bytes
#define TOGETHER 16  // queries

// Tiles of 16 keys: line i has the dimensions 2i and 2i + 1 of every key.
ALWAYS void pack_keys(const struct head *head, uint8_t *to) {
  for (int64_t key = 0; key < head->tokens; key += 16)
    for (int64_t part = 0; part < head->size; part += 32, to += TILE) {
      __m512i rows[16];
      for (int i = 0; i < 16; i++) rows[i] = _mm512_loadu_si512(head->keys + (key + i) * head->stride + part);
      transpose(rows);
      for (int i = 0; i < 16; i++) _mm512_store_si512(to + 64 * i, rows[i]);
    }
}

// Two tiles for 32 tokens and 32 dimensions: line i has the tokens 2i and 2i + 1. Zeros stand for what is behind the text.
// The first tile has the dimensions 0 to 3, 8 to 11, 16 to 19 and 24 to 27, the second the others: so they are unpacked.
ALWAYS void pack_values(const struct head *head, uint8_t *to) {
  for (int64_t token = 0; token < head->tokens; token += 32)
    for (int64_t part = 0; part < head->size; part += 32, to += 2 * TILE)
      for (int i = 0; i < 32; i += 2) {
        const number *at = head->values + (token + i) * head->stride + part;
        const __m512i none = _mm512_setzero_si512();
        const __m512i even = token + i < head->tokens ? _mm512_loadu_si512(at) : none;
        const __m512i odd = token + i + 1 < head->tokens ? _mm512_loadu_si512(at + head->stride) : none;
        _mm512_store_si512(to + 32 * i, _mm512_unpacklo_epi16(even, odd));
        _mm512_store_si512(to + 32 * i + TILE, _mm512_unpackhi_epi16(even, odd));
      }
}

#ifdef AMX

// (TOGETHER, 32 n) numbers times packed ones, to (TOGETHER, 32) floats. Two tiles stand for 32 lines of `left`, the second
// `apart` bytes behind the first, the next two `step` bytes behind these. Strides are in values.
ALWAYS void multiply_numbers(const number *left, int64_t left_stride, int64_t n, const uint8_t *right, int64_t apart,
                             int64_t step, float *to, int64_t stride, int64_t rows) {
  settle_memory();
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t i = 0; i < n; i++, left += 32, right += step) {
    _tile_loadd(4, left, 2 * left_stride);
    _tile_loadd(6, right, 64);
    _tile_loadd(7, right + apart, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, to, 4 * stride);
  _tile_stored(1, to + 16, 4 * stride);
  settle_memory();
}

#else

// The same for eight rows.
static __attribute__((noinline)) void multiply_eight(const number *left, int64_t left_stride, int64_t n,
                                                     const uint8_t *right, int64_t apart, int64_t step, float *to,
                                                     int64_t stride) {
  __m512 sum[8][2];
  const number *half = left + 4 * left_stride;
#pragma GCC unroll 8
  for (int row = 0; row < 8; row++) sum[row][0] = sum[row][1] = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i++, right += step)
#pragma GCC unroll 1
    for (int64_t line = 0; line < 16; line++, left += 2, half += 2) {
      const __m512bh one = (__m512bh)_mm512_load_si512(right + 64 * line);
      const __m512bh other = (__m512bh)_mm512_load_si512(right + apart + 64 * line);
#pragma GCC unroll 8
      for (int row = 0; row < 8; row++) {
        const number *at = (row < 4 ? left : half) + row % 4 * left_stride;
        const __m512bh two = (__m512bh)_mm512_set1_epi32(*(const int32_t *)at);
        sum[row][0] = _mm512_dpbf16_ps(sum[row][0], two, one);
        sum[row][1] = _mm512_dpbf16_ps(sum[row][1], two, other);
      }
    }
#pragma GCC unroll 8
  for (int row = 0; row < 8; row++) {
    _mm512_store_ps(to + row * stride, sum[row][0]);
    _mm512_store_ps(to + row * stride + 16, sum[row][1]);
  }
}

// The same for so many rows, to a multiple of eight.
ALWAYS void multiply_numbers(const number *left, int64_t left_stride, int64_t n, const uint8_t *right, int64_t apart,
                             int64_t step, float *to, int64_t stride, int64_t rows) {
  for (int64_t row = 0; row < rows; row += 8)
    multiply_eight(left + row * left_stride, left_stride, n, right, apart, step, to + row * stride, stride);
}

#endif

ALWAYS void attend(const struct head *head, const struct mixed *to, uint8_t *scratch) {
  const int64_t padded = up_to(head->tokens, 32), parts = head->size / 32;
  uint8_t *keys = scratch, *values = keys + padded * head->size * 2;
  float *scores = (float *)(values + padded * head->size * 2), divided[TOGETHER], result[TOGETHER * 32] ALIGNED;
  number *shares = (number *)(scores + TOGETHER * padded);
  // The dimensions in order again.
  const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  pack_keys(head, keys);
  pack_values(head, values);
  for (int64_t first = 0; first < head->asked; first += TOGETHER) {
    const int64_t rows = head->asked - first < TOGETHER ? head->asked - first : TOGETHER;
    const number *queries = head->queries + first * head->stride;
    for (int64_t key = 0; key < padded; key += 32)
      multiply_numbers(queries, head->stride, parts, keys + key / 16 * parts * TILE, parts * TILE, TILE, scores + key,
                       padded, rows);
    for (int64_t row = 0; row < rows; row++)
      divided[row] = shares_of(scores + row * padded, head->tokens, shares + row * padded);
    for (int64_t part = 0; part < parts; part++) {
      multiply_numbers(shares, padded, padded / 32, values + part * 2 * TILE, TILE, parts * 2 * TILE, result, 32, rows);
      for (int64_t row = 0; row < rows; row++) {
        const __m512 one = _mm512_load_ps(result + 32 * row), other = _mm512_load_ps(result + 32 * row + 16);
        store_mixed(to, first + row, 32 * part, _mm512_permutex2var_ps(one, low, other), divided[row]);
        store_mixed(to, first + row, 32 * part + 16, _mm512_permutex2var_ps(one, high, other), divided[row]);
      }
    }
  }
}

#else

#define TOGETHER 8  // queries

// Keys in groups of 32, the keys of a dimension side by side.
ALWAYS void pack_keys(const struct head *head, int64_t padded, float *to) {
  for (int64_t key = 0; key < padded; key += 16)
    for (int64_t part = 0; part < head->size; part += 16) {
      __m512i rows[16];
      for (int i = 0; i < 16; i++) rows[i] = _mm512_loadu_si512(head->keys + (key + i) * head->stride + part);
      transpose(rows);
      float *group = to + (key / 32 * head->size + part) * 32 + key % 32;
      for (int i = 0; i < 16; i++) _mm512_store_si512(group + 32 * i, rows[i]);
    }
}

// (TOGETHER, n) times (n, 32) to (TOGETHER, 32); rows are so many floats apart.
static __attribute__((noinline)) void multiply_floats(const float *left, int64_t left_stride, int64_t n,
                                                      const float *right, int64_t right_stride, float *to,
                                                      int64_t stride) {
  __m512 sum[TOGETHER][2];
  const float *half = left + TOGETHER / 2 * left_stride;
#pragma GCC unroll 8
  for (int row = 0; row < TOGETHER; row++) sum[row][0] = sum[row][1] = _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int64_t i = 0; i < n; i++, right += right_stride) {
    const __m512 one = _mm512_load_ps(right), other = _mm512_load_ps(right + 16);
#pragma GCC unroll 8
    for (int row = 0; row < TOGETHER; row++) {
      const float *at = row < TOGETHER / 2 ? left : half;
      const __m512 x = _mm512_set1_ps(at[row % (TOGETHER / 2) * left_stride + i]);
      sum[row][0] = _mm512_fmadd_ps(x, one, sum[row][0]);
      sum[row][1] = _mm512_fmadd_ps(x, other, sum[row][1]);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < TOGETHER; row++) {
    _mm512_store_ps(to + row * stride, sum[row][0]);
    _mm512_store_ps(to + row * stride + 16, sum[row][1]);
  }
}

ALWAYS void attend(const struct head *head, const struct mixed *to, uint8_t *scratch) {
  const int64_t padded = up_to(head->tokens, 32);
  float *keys = (float *)scratch, *values = keys + padded * head->size, *scores = values + padded * head->size;
  float divided[TOGETHER], result[TOGETHER * 32] ALIGNED;
  pack_keys(head, padded, keys);
  for (int64_t i = 0; i < head->tokens; i++)
    memcpy(values + i * head->size, head->values + i * head->stride, head->size * sizeof(float));
  for (int64_t first = 0; first < head->asked; first += TOGETHER) {
    const int64_t rows = head->asked - first < TOGETHER ? head->asked - first : TOGETHER;
    for (int64_t key = 0; key < padded; key += 32)
      multiply_floats(head->queries + first * head->stride, head->stride, head->size, keys + key * head->size, 32,
                      scores + key, padded);
    for (int64_t row = 0; row < rows; row++) {
      float *own = scores + row * padded;
      divided[row] = shares_of(own, head->tokens, own);
    }
    for (int64_t part = 0; part < head->size; part += 32) {
      multiply_floats(scores, padded, head->tokens, values + part, head->size, result, 32);
      for (int64_t row = 0; row < rows; row++)
        for (int half = 0; half < 32; half += 16)
          store_mixed(to, first + row, part + half, _mm512_load_ps(result + 32 * row + half), divided[row]);
    }
  }
}

#endif
