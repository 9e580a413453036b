// Token ids to unit vectors: a BERT whose products are of whole numbers, from the embedding tables to the pooled vector.
//
// Compiled three times: for VPDPBUSD with an attention in floats or, with BF16 defined, in bfloat16, and, with AMX defined
// as well, for TDPBUSD. Texts lie end to end, without padding; whatever is done to a token is done in the same order
// whatever lies beside it, so a vector does not depend on the other texts.

#include <string.h>

#include "attention.h"
#include "model.h"
#include "products.h"
#include "vectors.h"

#if defined(AMX)
#define NAMED(name) name##_amx
#elif defined(BF16)
#define NAMED(name) name##_bf16
#else
#define NAMED(name) name##_vnni
#endif

#define GROUP 128  // rows that go through the feed-forward together: its wide values stay near

struct scratch {
  float *hidden, *product;           // (tokens, hidden), (GROUP, hidden)
  number *wanted;                    // (tokens, 3 * hidden)
  uint8_t *bytes, *mixed, *wide;     // (tokens, hidden), (tokens, hidden), (GROUP, inner)
  uint8_t *attention;
};

static uint8_t *take(uint8_t **from, int64_t bytes) {
  uint8_t *taken = *from;
  if (taken) *from += up_to(bytes, 64);
  return taken;
}

// Lays the parts out from `start`, which is aligned to 64 bytes; returns their end.
static uint8_t *lay_out(struct scratch *parts, const struct model *model, int64_t tokens, int64_t longest,
                        uint8_t *start) {
  const int64_t hidden = model->hidden, rows = up_to(tokens, ROWS);
  parts->hidden = (float *)take(&start, rows * hidden * 4);
  parts->wanted = (number *)take(&start, (rows + 32) * 3 * hidden * sizeof(number));  // an attention reads on
  parts->product = (float *)take(&start, GROUP * hidden * 4);
  parts->bytes = take(&start, rows * hidden);
  parts->mixed = take(&start, rows * hidden);
  parts->wide = take(&start, GROUP * model->layers->narrow.inputs);
  parts->attention = take(&start, attention_scratch(longest, hidden / model->heads));
  return start;
}

// Bytes that `akin_encode` needs for so many tokens, the longest text having `longest`.
int64_t NAMED(akin_scratch)(const struct model *model, int64_t tokens, int64_t longest) {
  struct scratch parts;
  uint8_t *start = (uint8_t *)64;
  return lay_out(&parts, model, tokens, longest, start) - start;
}

// A row of `hidden`, with what is `added` to it unless that is NULL, normalised in place and as bytes.
static void normalise(const struct norm *norm, float *hidden, const float *added, int64_t n, uint8_t *bytes) {
  __m512 sum = _mm512_setzero_ps(), squares = sum;
  for (int64_t i = 0; i < n; i += 16) {
    __m512 x = _mm512_load_ps(hidden + i);
    if (added) x = _mm512_add_ps(x, _mm512_load_ps(added + i));
    sum = _mm512_add_ps(sum, x);
    squares = _mm512_fmadd_ps(x, x, squares);
    _mm512_store_ps(hidden + i, x);
  }
  const float mean = _mm512_reduce_add_ps(sum) / n, variance = _mm512_reduce_add_ps(squares) / n - mean * mean;
  const float divided = 1.0f / sqrtf((variance > 0 ? variance : 0) + norm->epsilon);
  const __m512 scale = _mm512_set1_ps(divided), offset = _mm512_set1_ps(-mean * divided);
  const __m512 zero = _mm512_set1_ps(norm->zero);
  for (int64_t i = 0; i < n; i += 16) {
    __m512 x = _mm512_fmadd_ps(_mm512_load_ps(hidden + i), scale, offset);
    x = _mm512_fmadd_ps(x, _mm512_loadu_ps(norm->weight + i), _mm512_loadu_ps(norm->bias + i));
    _mm512_store_ps(hidden + i, x);
    if (norm->factor) store_bytes(bytes + i, _mm512_fmadd_ps(x, _mm512_loadu_ps(norm->factor + i), zero));
  }
}

static void embed(const struct model *model, const int32_t *ids, const int32_t *lengths, int64_t texts,
                  struct scratch *at) {
  const int64_t n = model->hidden;
  int64_t row = 0;
  for (int64_t text = 0; text < texts; text++)
    for (int32_t token = 0; token < lengths[text]; token++, row++) {
      const float *word = model->words + ids[row] * n, *position = model->positions + token * n;
      float *to = at->hidden + row * n;
      for (int64_t i = 0; i < n; i += 16)
        _mm512_store_ps(to + i, _mm512_add_ps(_mm512_loadu_ps(word + i), _mm512_loadu_ps(position + i)));
      normalise(&model->embedded, to, NULL, n, at->bytes + row * n);
    }
}

// Every head of every text, of whose tokens the first `asked` are wanted, or all.
static void attend_all(const struct model *model, const struct layer *layer, const int32_t *lengths, int64_t texts,
                       int64_t asked, struct scratch *at) {
  const int64_t n = model->hidden, size = n / model->heads;
  int64_t row = 0;
  for (int64_t text = 0; text < texts; row += lengths[text++])
    for (int64_t first = 0; first < n; first += size) {
      const number *own = at->wanted + row * 3 * n + first;
      const int64_t wanted = asked < lengths[text] ? asked : lengths[text];
      struct head head = {own, own + n, own + 2 * n, 3 * n, lengths[text], size, wanted};
      struct mixed to = {at->mixed + row * n + first, n, layer->mix_factor, layer->mix_zero};
      attend(&head, &to, at->attention);
    }
}

// Leaves the first row of each text, in hidden values and in what the attention gave.
static void keep_first_rows(const struct model *model, const int32_t *lengths, int64_t texts, struct scratch *at) {
  const int64_t n = model->hidden;
  int64_t row = 0;
  for (int64_t text = 0; text < texts; row += lengths[text++]) {
    memmove(at->hidden + text * n, at->hidden + row * n, n * 4);
    memmove(at->mixed + text * n, at->mixed + row * n, n);
  }
}

// What stands behind the attention, a group of rows at a time.
static void feed_forward(const struct model *model, const struct layer *layer, int64_t rows, struct scratch *at) {
  const int64_t n = model->hidden, inner = layer->narrow.inputs;
  for (int64_t first = 0; first < rows; first += GROUP) {
    const int64_t group = rows - first < GROUP ? rows - first : GROUP;
    float *hidden = at->hidden + first * n;
    uint8_t *bytes = at->bytes + first * n;
    multiply(AS_FLOATS, &layer->mix, at->mixed + first * n, group, at->product, n, 0, 0);
    for (int64_t i = 0; i < group; i++) normalise(&layer->mixed, hidden + i * n, at->product + i * n, n, bytes + i * n);
    multiply(AS_GELU_BYTES, &layer->widen, bytes, group, at->wide, inner, layer->narrow_factor, layer->narrow_zero);
    multiply(AS_FLOATS, &layer->narrow, at->wide, group, at->product, n, 0, 0);
    for (int64_t i = 0; i < group; i++)
      normalise(&layer->narrowed, hidden + i * n, at->product + i * n, n, bytes + i * n);
  }
}

static void pool(const struct model *model, const int32_t *lengths, int64_t texts, const float *hidden, float *vectors) {
  const int64_t n = model->hidden;
  for (int64_t text = 0; text < texts; text++, vectors += n) {
    const int64_t rows = model->first_token ? 1 : lengths[text];
    __m512 squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
      __m512 sum = _mm512_setzero_ps();
      for (int64_t row = 0; row < rows; row++) sum = _mm512_add_ps(sum, _mm512_load_ps(hidden + row * n + i));
      sum = _mm512_div_ps(sum, _mm512_set1_ps(rows));
      squares = _mm512_fmadd_ps(sum, sum, squares);
      _mm512_storeu_ps(vectors + i, sum);
    }
    const float length = sqrtf(_mm512_reduce_add_ps(squares));
    const __m512 divisor = _mm512_set1_ps(length > 1e-12f ? length : 1e-12f);
    for (int64_t i = 0; i < n; i += 16)
      _mm512_storeu_ps(vectors + i, _mm512_div_ps(_mm512_loadu_ps(vectors + i), divisor));
    hidden += rows * n;
  }
}

// `ids` of all texts end to end, each within the vocabulary; `vectors` (texts, hidden); `scratch` aligned to 64 bytes.
void NAMED(akin_encode)(const struct model *model, const int32_t *ids, const int32_t *lengths, int64_t texts,
                        float *vectors, uint8_t *scratch) {
  struct scratch at;
  int64_t rows = 0, longest = 0;
  for (int64_t text = 0; text < texts; text++) {
    rows += lengths[text];
    if (lengths[text] > longest) longest = lengths[text];
  }
  lay_out(&at, model, rows, longest, scratch);
  start_tiles();
  embed(model, ids, lengths, texts, &at);
  for (int64_t i = 0; i < model->n_layers; i++) {
    const struct layer *layer = model->layers + i;
    const int only_first = model->first_token && i + 1 == model->n_layers;
    multiply(AS_NUMBERS, &layer->attention, at.bytes, rows, at.wanted, 3 * model->hidden, 0, 0);
    attend_all(model, layer, lengths, texts, only_first ? 1 : longest, &at);
    if (only_first) {
      keep_first_rows(model, lengths, texts, &at);
      rows = texts;
    }
    feed_forward(model, layer, rows, &at);
  }
  pool(model, lengths, texts, at.hidden, vectors);
#ifdef AMX
  _tile_release();
#endif
}
