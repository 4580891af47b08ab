#include "tests/numerics/elementwise/Reference.h"

#include <algorithm>
#include <cmath>
#include <complex>

namespace lorac::testing {

Doubles rmsNorm(const Doubles &x, const Doubles &w, int64_t n, double eps) {
  Doubles y(x.size());
  for (size_t row = 0; row < x.size(); row += n) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i)
      squares += x[row + i] * x[row + i];
    for (int64_t i = 0; i < n; ++i)
      y[row + i] = x[row + i] / std::sqrt(squares / n + eps) * w[i];
  }
  return y;
}

Doubles rmsNormBackward(const Doubles &x, const Doubles &w, const Doubles &dy, int64_t n,
                        double eps) {
  Doubles dx(x.size());
  for (size_t row = 0; row < x.size(); row += n) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i)
      squares += x[row + i] * x[row + i];
    double root = std::sqrt(squares / n + eps);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < n; ++i) {
        double dRoot = x[row + j] / (n * root); // d root / d x[j]
        double partial = (i == j ? 1 / root : 0) - x[row + i] / (root * root) * dRoot;
        dx[row + j] += dy[row + i] * w[i] * partial;
      }
  }
  return dx;
}

Doubles rotate(const Doubles &x, const std::vector<int32_t> &positions, int64_t heads, int64_t d,
               double theta, bool inverse) {
  Doubles y(x.size());
  for (size_t m = 0; m < positions.size(); ++m)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < d / 2; ++i) {
        size_t at = (m * heads + h) * d + i;
        double angle = positions[m] * std::pow(theta, -2.0 * i / d);
        std::complex<double> turned =
            std::complex<double>(x[at], x[at + d / 2]) * std::polar(1.0, inverse ? -angle : angle);
        y[at] = turned.real();
        y[at + d / 2] = turned.imag();
      }
  return y;
}

CrossEntropy crossEntropy(const Doubles &logits, const std::vector<int32_t> &labels, int64_t vocab,
                          double lossScale, double smoothing) {
  CrossEntropy result{Doubles(labels.size()), Doubles(logits.size())};
  for (size_t m = 0; m < labels.size(); ++m) {
    if (labels[m] == -100)
      continue;
    const double *row = &logits[m * vocab];
    double largest = *std::max_element(row, row + vocab), sum = 0;
    for (int64_t i = 0; i < vocab; ++i)
      sum += std::exp(row[i] - largest);
    result.loss[m] = largest + std::log(sum);
    for (int64_t i = 0; i < vocab; ++i) {
      const double target = smoothing / vocab + (i == labels[m] ? 1 - smoothing : 0);
      result.loss[m] -= target * row[i];
      result.dlogits[m * vocab + i] = (std::exp(row[i] - largest) / sum - target) * lossScale;
    }
  }
  return result;
}

namespace {

/// Calls fn(query row, head, kv head, first key row) for every query of every segment.
template <typename Fn>
void forEachQuery(const AttentionShape &s, Fn fn) {
  for (size_t segment = 0; segment + 1 < s.starts.size(); ++segment)
    for (int64_t m = s.starts[segment]; m < s.starts[segment + 1]; ++m)
      for (int64_t h = 0; h < s.heads; ++h)
        fn(m, h, h / (s.heads / s.kvHeads), int64_t{s.starts[segment]});
}

double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

/// The probabilities of keys first..m for one query, and their log-sum-exp.
Doubles softmaxRow(const double *query, const Doubles &k, const AttentionShape &s, int64_t m,
                   int64_t kvHead, int64_t first, double &lse) {
  Doubles p;
  for (int64_t j = first; j <= m; ++j)
    p.push_back(s.scale * dot(query, &k[(j * s.kvHeads + kvHead) * s.dim], s.dim));
  double largest = *std::max_element(p.begin(), p.end()), sum = 0;
  for (double value : p)
    sum += std::exp(value - largest);
  lse = largest + std::log(sum);
  for (double &value : p)
    value = std::exp(value - lse);
  return p;
}

} // namespace

Attention attention(const Doubles &q, const Doubles &k, const Doubles &v, const AttentionShape &s) {
  Attention result{Doubles(q.size()), Doubles(q.size() / s.dim)};
  forEachQuery(s, [&](int64_t m, int64_t h, int64_t kvHead, int64_t first) {
    int64_t row = m * s.heads + h;
    Doubles p = softmaxRow(&q[row * s.dim], k, s, m, kvHead, first, result.lse[row]);
    for (int64_t j = first; j <= m; ++j)
      for (int64_t i = 0; i < s.dim; ++i)
        result.o[row * s.dim + i] += p[j - first] * v[(j * s.kvHeads + kvHead) * s.dim + i];
  });
  return result;
}

AttentionGradients attentionBackward(const Doubles &q, const Doubles &k, const Doubles &v,
                                     const Doubles &dout, const AttentionShape &s) {
  AttentionGradients result{Doubles(q.size()), Doubles(k.size()), Doubles(v.size())};
  forEachQuery(s, [&](int64_t m, int64_t h, int64_t kvHead, int64_t first) {
    int64_t row = m * s.heads + h, keys = m - first + 1;
    double lse;
    Doubles p = softmaxRow(&q[row * s.dim], k, s, m, kvHead, first, lse), dp(keys);
    for (int64_t j = 0; j < keys; ++j)
      dp[j] = dot(&dout[row * s.dim], &v[((first + j) * s.kvHeads + kvHead) * s.dim], s.dim);
    double mean = dot(p.data(), dp.data(), keys);
    for (int64_t j = 0; j < keys; ++j) {
      double ds = p[j] * (dp[j] - mean) * s.scale;
      int64_t key = (first + j) * s.kvHeads + kvHead;
      for (int64_t i = 0; i < s.dim; ++i) {
        result.dv[key * s.dim + i] += p[j] * dout[row * s.dim + i];
        result.dk[key * s.dim + i] += ds * q[row * s.dim + i];
        result.dq[row * s.dim + i] += ds * k[key * s.dim + i];
      }
    }
  });
  return result;
}

} // namespace lorac::testing
