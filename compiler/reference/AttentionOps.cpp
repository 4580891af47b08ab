// Causal attention inside segments, its heads grouped over the heads of keys and values.

#include "compiler/reference/Ops.h"
#include <algorithm>
#include <cmath>

using namespace lorac::reference;

// Calls visit(m, begin) for each token m: it sees keys begin..m, those of its segment that are in
// its window.
template <typename Visit>
static void forEachToken(const HostTensor &starts, const Scores &scores, Visit visit) {
  for (int64_t i = 0; i + 1 < starts.rows(); ++i)
    for (int64_t m = starts.data[i]; m < int64_t(starts.data[i + 1]); ++m) {
      int64_t begin = starts.data[i];
      visit(m, scores.window > 0 ? std::max(begin, m - scores.window + 1) : begin);
    }
}

// scale · q[m, h]·k[j, g], capped
static double score(const HostTensor &q, const HostTensor &k, int64_t m, int64_t h, int64_t j,
                    int64_t g, const Scores &scores) {
  double dot = 0;
  for (int64_t i = 0; i < q.shape[2]; ++i)
    dot += q.at(m, h, i) * k.at(j, g, i);
  const double score = scores.scale * dot, cap = scores.softcap;
  return cap > 0 ? cap * std::tanh(score / cap) : score;
}

AttentionResult lorac::reference::attention(const HostTensor &q, const HostTensor &k,
                                            const HostTensor &v, const HostTensor &starts,
                                            const Scores &scores) {
  int64_t tokens = q.rows(), heads = q.shape[1], d = q.shape[2], group = heads / k.shape[1];
  HostTensor o = HostTensor::zeros({tokens, heads * d}), lse = HostTensor::zeros({tokens, heads});
  forEachToken(starts, scores, [&](int64_t m, int64_t begin) {
    for (int64_t h = 0; h < heads; ++h) {
      int64_t g = h / group;
      double largest = -INFINITY, sum = 0;
      for (int64_t j = begin; j <= m; ++j)
        largest = std::max(largest, score(q, k, m, h, j, g, scores));
      for (int64_t j = begin; j <= m; ++j)
        sum += std::exp(score(q, k, m, h, j, g, scores) - largest);
      lse.at(m, h) = largest + std::log(sum);
      for (int64_t j = begin; j <= m; ++j) {
        double p = std::exp(score(q, k, m, h, j, g, scores) - lse.at(m, h));
        for (int64_t i = 0; i < d; ++i)
          o.at(m, h * d + i) += p * v.at(j, g, i);
      }
    }
  });
  return {o, lse};
}

// `tail` as the rows behind those of `head`.
static HostTensor appended(const HostTensor &head, const HostTensor &tail) {
  HostTensor both = tail;
  both.shape[0] += head.shape.empty() ? 0 : head.rows();
  both.data.insert(both.data.begin(), head.data.begin(), head.data.end());
  return both;
}

// Rows [from, to) of [tokens, heads, d].
static HostTensor someRows(const HostTensor &x, int64_t from, int64_t to) {
  HostTensor some = HostTensor::zeros({to - from, x.shape[1], x.shape[2]});
  const int64_t row = x.shape[1] * x.shape[2];
  std::copy(x.data.begin() + from * row, x.data.begin() + to * row, some.data.begin());
  return some;
}

HostTensor lorac::reference::cachedAttention(const HostTensor &q, const HostTensor &k,
                                             const HostTensor &v, const HostTensor &starts,
                                             std::vector<CachedSequence> &cache,
                                             const Scores &scores) {
  const int64_t columns = q.shape[1] * q.shape[2];
  HostTensor o = HostTensor::zeros({q.rows(), columns});
  for (int64_t i = 0; i + 1 < starts.rows(); ++i) {
    const int64_t from = starts.data[i], to = starts.data[i + 1];
    if (from == to)
      continue;
    CachedSequence &sequence = cache[i];
    const int64_t past = sequence.k.shape.empty() ? 0 : sequence.k.rows();
    sequence.k = appended(sequence.k, someRows(k, from, to));
    sequence.v = appended(sequence.v, someRows(v, from, to));
    // The whole sequence, of which the old rows ask nothing.
    HostTensor queries = HostTensor::zeros({past + to - from, q.shape[1], q.shape[2]});
    std::copy(q.data.begin() + from * columns, q.data.begin() + to * columns,
              queries.data.begin() + past * columns);
    HostTensor bounds = HostTensor::zeros({2});
    bounds.data[1] = double(past + to - from);
    const HostTensor all = attention(queries, sequence.k, sequence.v, bounds, scores).o;
    std::copy(all.data.begin() + past * columns, all.data.end(), o.data.begin() + from * columns);
  }
  return o;
}

AttentionGradient lorac::reference::attentionBackward(const HostTensor &q, const HostTensor &k,
                                                      const HostTensor &v, const HostTensor &starts,
                                                      const HostTensor &o, const HostTensor &lse,
                                                      const HostTensor &dout,
                                                      const Scores &scores) {
  int64_t heads = q.shape[1], d = q.shape[2], group = heads / k.shape[1];
  HostTensor dq = HostTensor::zeros(q.shape), dk = HostTensor::zeros(k.shape),
             dv = HostTensor::zeros(v.shape);
  forEachToken(starts, scores, [&](int64_t m, int64_t begin) {
    for (int64_t h = 0; h < heads; ++h) {
      int64_t g = h / group;
      double rowsum = 0; // of do·o
      for (int64_t i = 0; i < d; ++i)
        rowsum += dout.at(m, h * d + i) * o.at(m, h * d + i);
      for (int64_t j = begin; j <= m; ++j) {
        double s = score(q, k, m, h, j, g, scores), p = std::exp(s - lse.at(m, h)), dp = 0;
        for (int64_t i = 0; i < d; ++i)
          dp += dout.at(m, h * d + i) * v.at(j, g, i);
        double ds = p * (dp - rowsum);
        if (double cap = scores.softcap; cap > 0)
          ds *= 1 - s * s / (cap * cap);
        for (int64_t i = 0; i < d; ++i) {
          dv.at(j, g, i) += p * dout.at(m, h * d + i);
          dq.at(m, h, i) += scores.scale * ds * k.at(j, g, i);
          dk.at(j, g, i) += scores.scale * ds * q.at(m, h, i);
        }
      }
    }
  });
  return {dq, dk, dv};
}
