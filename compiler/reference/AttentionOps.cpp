// Causal attention inside segments, its heads grouped over the heads of keys and values.

#include "compiler/reference/Ops.h"
#include <algorithm>
#include <cmath>

using namespace lorac::reference;

// Calls visit(m, begin) for each token m whose segment begins at `begin`: it sees keys begin..m.
template <typename Visit>
static void forEachToken(const HostTensor &starts, Visit visit) {
  for (int64_t i = 0; i + 1 < starts.rows(); ++i)
    for (int64_t m = starts.data[i]; m < int64_t(starts.data[i + 1]); ++m)
      visit(m, int64_t(starts.data[i]));
}

// scale · q[m, h]·k[j, g]
static double score(const HostTensor &q, const HostTensor &k, int64_t m, int64_t h, int64_t j,
                    int64_t g, double scale) {
  double dot = 0;
  for (int64_t i = 0; i < q.shape[2]; ++i)
    dot += q.at(m, h, i) * k.at(j, g, i);
  return scale * dot;
}

AttentionResult lorac::reference::attention(const HostTensor &q, const HostTensor &k,
                                            const HostTensor &v, const HostTensor &starts,
                                            double scale) {
  int64_t tokens = q.rows(), heads = q.shape[1], d = q.shape[2], group = heads / k.shape[1];
  HostTensor o = HostTensor::zeros({tokens, heads * d}), lse = HostTensor::zeros({tokens, heads});
  forEachToken(starts, [&](int64_t m, int64_t begin) {
    for (int64_t h = 0; h < heads; ++h) {
      int64_t g = h / group;
      double largest = -INFINITY, sum = 0;
      for (int64_t j = begin; j <= m; ++j)
        largest = std::max(largest, score(q, k, m, h, j, g, scale));
      for (int64_t j = begin; j <= m; ++j)
        sum += std::exp(score(q, k, m, h, j, g, scale) - largest);
      lse.at(m, h) = largest + std::log(sum);
      for (int64_t j = begin; j <= m; ++j) {
        double p = std::exp(score(q, k, m, h, j, g, scale) - lse.at(m, h));
        for (int64_t i = 0; i < d; ++i)
          o.at(m, h * d + i) += p * v.at(j, g, i);
      }
    }
  });
  return {o, lse};
}

AttentionGradient lorac::reference::attentionBackward(const HostTensor &q, const HostTensor &k,
                                                      const HostTensor &v, const HostTensor &starts,
                                                      const HostTensor &o, const HostTensor &lse,
                                                      const HostTensor &dout, double scale) {
  int64_t heads = q.shape[1], d = q.shape[2], group = heads / k.shape[1];
  HostTensor dq = HostTensor::zeros(q.shape), dk = HostTensor::zeros(k.shape),
             dv = HostTensor::zeros(v.shape);
  forEachToken(starts, [&](int64_t m, int64_t begin) {
    for (int64_t h = 0; h < heads; ++h) {
      int64_t g = h / group;
      double rowsum = 0; // of do·o
      for (int64_t i = 0; i < d; ++i)
        rowsum += dout.at(m, h * d + i) * o.at(m, h * d + i);
      for (int64_t j = begin; j <= m; ++j) {
        double p = std::exp(score(q, k, m, h, j, g, scale) - lse.at(m, h)), dp = 0;
        for (int64_t i = 0; i < d; ++i)
          dp += dout.at(m, h * d + i) * v.at(j, g, i);
        double ds = p * (dp - rowsum);
        for (int64_t i = 0; i < d; ++i) {
          dv.at(j, g, i) += p * dout.at(m, h * d + i);
          dq.at(m, h, i) += scale * ds * k.at(j, g, i);
          dk.at(j, g, i) += scale * ds * q.at(m, h, i);
        }
      }
    }
  });
  return {dq, dk, dv};
}
