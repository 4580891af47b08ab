/* Stands in for a compiled program: a bigram model. hidden row = embedding of the token + the bias
 * parameters of a tiny "adapter"; its loss is the squared distance of the row from the target's
 * embedding. Enough to see that launches, rows, segments, gradients and parameters meet. */
#include "runtime/abi.h"

#include <math.h>

const uint32_t lorac_abi_version = LORAC_ABI_VERSION;

enum { N = 4, LD = 16, PANEL = 16 };

/* Row `token` of the table, which is packed in panels of 16 rows. */
static float entry(const float *table, int token, int j) { return table[j * PANEL + token]; }

/* ids, table (a weight in panels), bias [N], out; rows */
void fake_embed(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *ids = buffers[0];
  const float *table = buffers[1], *bias = buffers[2];
  float *out = buffers[3];
  for (int64_t row = begin; row < end && row < rows; ++row)
    for (int j = 0; j < N; ++j)
      out[row * LD + j] = entry(table, ids[row], j) + bias[j];
}

/* hidden, labels, table, row_loss; rows, two a tile */
void fake_loss(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
               int64_t end, void *scratch, const int64_t *scalars) {
  const float *hidden = buffers[0], *table = buffers[2];
  const int32_t *labels = buffers[1];
  float *loss = buffers[3];
  for (int64_t row = 2 * begin; row < 2 * end && row < rows; ++row) {
    loss[row] = 0;
    if (labels[row] == LORAC_NO_LABEL)
      continue;
    for (int j = 0; j < N; ++j) {
      float d = hidden[row * LD + j] - entry(table, labels[row], j);
      loss[row] += 0.5f * d * d;
    }
  }
}

/* hidden, labels, table, grad [N]; const over N: gradient of the bias, summed over rows in order */
void fake_grad(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
               int64_t end, void *scratch, const int64_t *scalars) {
  const float *hidden = buffers[0], *table = buffers[2];
  const int32_t *labels = buffers[1];
  float *grad = buffers[3];
  for (int64_t j = begin; j < end; ++j)
    for (int64_t row = 0; row < rows; ++row)
      if (labels[row] != LORAC_NO_LABEL)
        grad[j] += step->loss_scale * (hidden[row * LD + j] - entry(table, labels[row], j));
}

/* head_in, table, logits [vocab]; rows */
void fake_head(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
               int64_t end, void *scratch, const int64_t *scalars) {
  const float *in = buffers[0], *table = buffers[1];
  float *logits = buffers[2];
  for (int64_t row = begin; row < end && row < rows; ++row)
    for (int token = 0; token < 8; ++token) {
      float sum = 0;
      for (int j = 0; j < N; ++j)
        sum += in[row * LD + j] * entry(table, token, j);
      logits[row * LD + token] = sum;
    }
}

/* segment_starts, out [max_segments]; segments: first row of each, and the worker's scratch is its
 * own */
void fake_segments(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                   int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *starts = buffers[0];
  float *out = buffers[1];
  for (int64_t segment = begin; segment < end; ++segment) {
    *(float *)scratch = (float)starts[segment];
    out[segment] = *(float *)scratch;
  }
}

/* spans, grads */
void fake_begin(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *spans = buffers[0];
  float *grads = buffers[1];
  for (int64_t span = begin; span < end && span < rows; ++span)
    for (int32_t i = 0; i < spans[4 * span + 1]; ++i)
      grads[spans[4 * span] + i] = 0;
}

/* modules, states of triplets, five regions, the params first; rows are modules, one a tile */
void fake_zeros(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *states = buffers[1];
  for (int64_t m = begin; m < end && m < rows; ++m) {
    const LoracTriplets *at = (const LoracTriplets *)buffers[0] + m;
    for (int32_t i = 0; i < at->rank; ++i)
      for (int region = 0; region < 5; ++region) {
        float *of = buffers[2 + region];
        const int isDead = states[at->first + i] == LORAC_TRIPLET_DEAD;
        if (isDead || (states[at->first + i] == LORAC_TRIPLET_MASKED && region == 0))
          of[at->e + i] = 0;
        for (int32_t j = 0; isDead && j < at->in; ++j)
          of[at->a + i * at->in + j] = 0;
        for (int32_t j = 0; isDead && j < at->out; ++j)
          of[at->b + j * at->rank + i] = 0;
      }
  }
}

/* spans, grads, sums f64 */
void fake_squares(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                  int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *spans = buffers[0];
  const float *grads = buffers[1];
  double *sums = buffers[2];
  for (int64_t span = begin; span < end && span < rows; ++span) {
    const int32_t *at = spans + 4 * span;
    sums[span] = 0;
    for (int32_t i = at[0]; i < at[0] + at[1]; ++i)
      sums[span] += (double)grads[i] * grads[i];
  }
}

/* sums f64, io.norm; one tile */
void fake_norm(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
               int64_t end, void *scratch, const int64_t *scalars) {
  const double *sums = buffers[0];
  LoracNorm *norm = buffers[1];
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i)
    sum += sums[i];
  norm->norm = (float)sqrt(sum) * norm->gradient_scale;
  float clip = norm->max_norm / (norm->norm + 1e-6f);
  norm->clip = (norm->max_norm > 0 && clip < 1 ? clip : 1) * norm->gradient_scale;
}

/* spans, io.importance, io.norm, params, grads, sensitivity, uncertainty */
void fake_importance(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                     int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *spans = buffers[0];
  const float *betas = buffers[1], *p = buffers[3], *g = buffers[4];
  const LoracNorm *norm = buffers[2];
  float *sensitivity = buffers[5], *uncertainty = buffers[6];
  for (int64_t span = begin; span < end && span < rows; ++span)
    for (int32_t i = spans[4 * span]; i < spans[4 * span] + spans[4 * span + 1]; ++i) {
      float now = fabsf(p[i] * (g[i] * norm->clip));
      sensitivity[i] = betas[0] * sensitivity[i] + betas[1] * now;
      uncertainty[i] = betas[2] * uncertainty[i] + betas[3] * fabsf(now - sensitivity[i]);
    }
}

/* spans [i32: offset, count, group, 0], io.update, io.norm, params, grads, exp_avg, exp_avg_sq; rows are
 * spans, one a tile: AdamW */
void fake_update(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin,
                 int64_t end, void *scratch, const int64_t *scalars) {
  const int32_t *spans = buffers[0];
  const float *own = buffers[1], *grads = buffers[4];
  const LoracNorm *norm = buffers[2];
  float *p = buffers[3], *m = buffers[5], *v = buffers[6];
  for (int64_t span = begin; span < end && span < rows; ++span) {
    const int32_t *at = spans + 4 * span;
    const float *ofGroup = own + 5 + 2 * at[2];
    for (int32_t i = at[0]; i < at[0] + at[1]; ++i) {
      float g = grads[i] * norm->clip;
      float decayed = p[i] * ofGroup[0];
      float mean = m[i] + own[0] * (g - m[i]);
      float square = v[i] * own[1] + own[2] * g * g;
      m[i] = mean;
      v[i] = square;
      p[i] = decayed + ofGroup[1] * mean / (sqrtf(square) / own[3] + own[4]);
    }
  }
}
