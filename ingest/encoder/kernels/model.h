// What a model is to the kernels. packed.py fills these in and must keep to their order.

#pragma once

#include <stdint.h>

// A product of bytes with whole numbers, finished as floats: sum * scale + offset.
// `weights` lie in panels of 32 columns; a panel in steps of 64 inputs; a step in two halves of 16 columns; a half in
// 16 lines of 64 bytes, each with four inputs of 16 columns. VPDPBUSD and TDPBUSD both read that.
struct product {
  const int8_t *weights;
  const float *scale, *offset;  // one for each column
  int64_t inputs, outputs;      // filled up with zeros to 64 and 32
};

// y = (x - mean) / deviation * weight + bias. Where a product reads y, it does so as bytes: y * factor + zero.
struct norm {
  const float *weight, *bias, *factor;  // no factor where no product reads it
  float zero, epsilon;
};

struct layer {
  struct product attention;  // queries, times what softmax divides by and log2(e); keys; values
  struct product mix, widen, narrow;
  struct norm mixed, narrowed;      // behind the attention, and behind the feed-forward
  float mix_factor, mix_zero;       // what `mix` reads, as bytes
  float narrow_factor, narrow_zero; // what `narrow` reads
};

struct model {
  const float *words, *positions;  // (vocabulary, hidden), (tokens, hidden) with the first token type added
  struct norm embedded;
  const struct layer *layers;
  int64_t n_layers, hidden, heads, first_token;  // the last: whether a vector is that of the first token, not the mean
};
