// Products of bytes with packed weights, a block of 32 rows and 32 columns at a time.

#pragma once

#include "model.h"
#include "vectors.h"

#define ROWS 32     // of a block
#define COLUMNS 32  // of a panel

enum finish { AS_FLOATS, AS_NUMBERS, AS_GELU_BYTES };

// What an attention is worked out in.
#ifdef BF16
typedef uint16_t number;  // bfloat16
ALWAYS void store_numbers(number *to, __m512 x) { _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x)); }
ALWAYS void store_two(number *to, __m512 x, __m512 y) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(y, x)); }
#else
typedef float number;
ALWAYS void store_numbers(number *to, __m512 x) { _mm512_storeu_ps(to, x); }
ALWAYS void store_two(number *to, __m512 x, __m512 y) { store_numbers(to, x), store_numbers(to + 16, y); }
#endif

// Where the sums of a block go.
struct target {
  const float *scale, *offset;
  void *first;      // of the block's values
  int64_t stride;   // from one row to the next, in values
  int64_t rows;
  float factor, zero;  // of the bytes
};

// Two rows at a time, so that their 64 bytes are packed together; the second of the last two may be one too many.
ALWAYS void finish_rows(enum finish how, const struct target *to, const int32_t *sums, int64_t from, int64_t end) {
  const __m512 factor = _mm512_set1_ps(to->factor), zero = _mm512_set1_ps(to->zero);
  const __m512 scale[2] = {_mm512_loadu_ps(to->scale), _mm512_loadu_ps(to->scale + 16)};
  const __m512 offset[2] = {_mm512_loadu_ps(to->offset), _mm512_loadu_ps(to->offset + 16)};
  for (int64_t row = from; row < end; row += 2) {
    __m512 x[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      x[i] = _mm512_cvtepi32_ps(_mm512_load_si512(sums + row * COLUMNS + 16 * i));
      x[i] = _mm512_fmadd_ps(x[i], scale[i % 2], offset[i % 2]);
      if (how == AS_GELU_BYTES) x[i] = _mm512_fmadd_ps(gelu(x[i]), factor, zero);
    }
    const __m512i bytes = how == AS_GELU_BYTES ? pack_bytes(x) : _mm512_setzero_si512();
    for (int i = 0; i < 2 && row + i < end; i++) {
      const int64_t place = (row + i) * to->stride;
      if (how == AS_GELU_BYTES) {
        const __m256i own = i ? _mm512_extracti64x4_epi64(bytes, 1) : _mm512_castsi512_si256(bytes);
        _mm256_storeu_si256((__m256i *)((uint8_t *)to->first + place), own);
      } else if (how == AS_NUMBERS) {
        store_two((number *)to->first + place, x[2 * i], x[2 * i + 1]);
      } else {
        _mm512_storeu_ps((float *)to->first + place, x[2 * i]);
        _mm512_storeu_ps((float *)to->first + place + 16, x[2 * i + 1]);
      }
    }
  }
}

// What is multiplied: `rows` of bytes, and a panel.
struct block {
  const uint8_t *bytes;
  const int8_t *panel;
  int64_t inputs, rows;
  const int8_t *ahead;  // to be wanted soon, so many lines of 64 bytes for each step of 64 inputs
  int64_t lines;
};

#ifdef AMX

// Eight tiles of 16 rows and 64 bytes. The kernel keeps a thread's tiles, so each call sets them up anew.
ALWAYS void start_tiles(void) {
  static const uint8_t shape[64] ALIGNED = {
      [0] = 1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
      [48] = 16, 16, 16, 16, 16, 16, 16, 16};
  _tile_loadconfig(shape);
}

// GCC does not know that a tile reads memory: what was stored before this is there for tiles loaded behind it.
ALWAYS void settle_memory(void) { __asm__ volatile("" ::: "memory"); }

// The sums of one block, while those of the block before are finished: tiles multiply beside the vector units.
ALWAYS void multiply_block(enum finish how, const struct block *block, int32_t *sums, const struct target *before,
                           const int32_t *sums_before) {
  const int64_t inputs = block->inputs, steps = inputs / 64, share = up_to((before->rows + steps - 1) / steps, 2);
  const uint8_t *bytes = block->bytes;
  const int8_t *panel = block->panel, *ahead = block->ahead;
  int64_t done = 0;
  settle_memory();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < inputs; i += 64, panel += 2048) {
    for (int64_t line = 0; line < block->lines; line++, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
    _tile_loadd(4, bytes + i, inputs);
    _tile_loadd(6, panel, 64);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(7, panel + 1024, 64);
    _tile_dpbusd(1, 4, 7);
    _tile_loadd(5, bytes + 16 * inputs + i, inputs);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
    const int64_t end = done + share < before->rows ? done + share : before->rows;
    finish_rows(how, before, sums_before, done, end);
    done = end;
  }
  _tile_stored(0, sums, 4 * COLUMNS);
  _tile_stored(1, sums + 16, 4 * COLUMNS);
  _tile_stored(2, sums + 16 * COLUMNS, 4 * COLUMNS);
  _tile_stored(3, sums + 16 * COLUMNS + 16, 4 * COLUMNS);
  settle_memory();
}

#else

ALWAYS void start_tiles(void) {}

// `n` is a constant where this is called, so that the sums stay in registers; it is a multiple of 4.
ALWAYS void multiply_rows(int n, const uint8_t *bytes, int64_t inputs, const int8_t *panel, int32_t *sums) {
  __m512i sum[12][2];
#pragma GCC unroll 12
  for (int row = 0; row < n; row++) sum[row][0] = sum[row][1] = _mm512_setzero_si512();
  const uint8_t *second = bytes + n / 4 * inputs, *third = second + n / 4 * inputs, *fourth = third + n / 4 * inputs;
  for (int64_t step = 0; step < inputs; step += 64, panel += 1024)
#pragma GCC unroll 1
    for (int64_t i = step; i < step + 64; i += 4, panel += 64) {
      const __m512i left = _mm512_load_si512(panel), right = _mm512_load_si512(panel + 1024);
#pragma GCC unroll 12
      for (int row = 0; row < n; row++) {
        const uint8_t *quarter = row < n / 4 ? bytes : row < n / 2 ? second : row < n / 4 * 3 ? third : fourth;
        const __m512i four = _mm512_set1_epi32(*(const int32_t *)(quarter + row % (n / 4) * inputs + i));
        sum[row][0] = _mm512_dpbusd_epi32(sum[row][0], four, left);
        sum[row][1] = _mm512_dpbusd_epi32(sum[row][1], four, right);
      }
    }
#pragma GCC unroll 12
  for (int row = 0; row < n; row++) {
    _mm512_store_si512(sums + row * COLUMNS, sum[row][0]);
    _mm512_store_si512(sums + row * COLUMNS + 16, sum[row][1]);
  }
}

// Functions of their own: put in one place, they would fight for registers.
#define MULTIPLY(n)                                                                                         \
  static __attribute__((noinline)) void multiply_##n(const uint8_t *bytes, int64_t inputs, const int8_t *panel, \
                                                     int32_t *sums) {                                       \
    multiply_rows(n, bytes, inputs, panel, sums);                                                           \
  }
MULTIPLY(4)
MULTIPLY(8)
MULTIPLY(12)

// The sums of one block; those of the block before are finished first.
ALWAYS void multiply_block(enum finish how, const struct block *block, int32_t *sums, const struct target *before,
                           const int32_t *sums_before) {
  const int64_t inputs = block->inputs, lines = block->lines * inputs / 64;
  const uint8_t *bytes = block->bytes;
  finish_rows(how, before, sums_before, 0, before->rows);
  // Few rows leave too little time to read a whole panel: the products would wait for it.
  for (int64_t line = 0; block->lines <= 16 && line < lines; line++)
    _mm_prefetch(block->ahead + 64 * line, _MM_HINT_T1);
  for (int64_t row = 0, n; row < block->rows; row += n, bytes += n * inputs, sums += n * COLUMNS) {
    const int64_t left = block->rows - row;
    n = left > 16 || (left > 8 && left <= 12) ? 12 : left > 4 ? 8 : 4;
    if (n == 12) multiply_12(bytes, inputs, block->panel, sums);
    else if (n == 8) multiply_8(bytes, inputs, block->panel, sums);
    else multiply_4(bytes, inputs, block->panel, sums);
  }
}

#endif

// `bytes` (rows, inputs), with as many rows behind them as fill a block, whatever is in those; `to` (rows, stride).
ALWAYS void multiply(enum finish how, const struct product *product, const uint8_t *bytes, int64_t rows, void *to,
                     int64_t stride, float factor, float zero) {
  const int64_t inputs = product->inputs, blocks = (rows + ROWS - 1) / ROWS;
  const int64_t size = how == AS_FLOATS ? sizeof(float) : how == AS_NUMBERS ? sizeof(number) : 1;
  int32_t sums[2][ROWS * COLUMNS] ALIGNED;
  // Before the first block there is none to finish: no rows.
  struct target target = {product->scale, product->offset, to, stride, 0, factor, zero};
  int now = 0;
  for (int64_t column = 0; column < product->outputs; column += COLUMNS) {
    const int8_t *panel = product->weights + column * inputs;
    for (int64_t row = 0; row < rows; row += ROWS, now = !now) {
      // Meanwhile an equal part of the next panel comes nearer. Behind the last one the next product's may lie.
      const int64_t lines = (32 + blocks - 1) / blocks, some = rows - row < ROWS ? rows - row : ROWS;
      const int8_t *ahead = panel + COLUMNS * inputs + row / ROWS * lines * inputs;
      const struct block block = {bytes + row * inputs, panel, inputs, some, ahead, lines};
      multiply_block(how, &block, sums[now], &target, sums[!now]);
      target.rows = block.rows;
      target.scale = product->scale + column, target.offset = product->offset + column;
      target.first = (uint8_t *)to + (row * stride + column) * size;
    }
  }
  finish_rows(how, &target, sums[!now], 0, target.rows);
}
