// Cross entropy under a frozen head.

#include "compiler/reference/Ops.h"
#include <algorithm>
#include <cmath>

using namespace lorac::reference;

constexpr int64_t noLabel = -100;

// log Σ exp of row m, without overflow
static double logSumExp(const HostTensor &logits, int64_t m) {
  double largest = -INFINITY, sum = 0;
  for (int64_t v = 0; v < logits.columns(); ++v)
    largest = std::max(largest, logits.at(m, v));
  for (int64_t v = 0; v < logits.columns(); ++v)
    sum += std::exp(logits.at(m, v) - largest);
  return largest + std::log(sum);
}

// What the probability of v should be.
static double target(int64_t v, int64_t label, int64_t vocab, double smoothing) {
  return smoothing / double(vocab) + (v == label ? 1 - smoothing : 0);
}

static HostTensor rowLoss(const HostTensor &logits, const HostTensor &labels, double smoothing) {
  HostTensor loss = HostTensor::zeros({logits.rows()});
  for (int64_t m = 0; m < logits.rows(); ++m)
    if (int64_t label = labels.data[m]; label != noLabel) {
      loss.data[m] = logSumExp(logits, m);
      for (int64_t v = 0; v < logits.columns(); ++v)
        if (double t = target(v, label, logits.columns(), smoothing); t != 0)
          loss.data[m] -= t * logits.at(m, v);
    }
  return loss;
}

HostTensor lorac::reference::crossEntropy(const HostTensor &h, const HostTensor &w,
                                          const HostTensor &labels, const LogitOf &logit) {
  HostTensor logits = linear(h, w);
  for (double &z : logits.data)
    z = logit(z).value;
  return rowLoss(logits, labels, 0);
}

LossGradient lorac::reference::crossEntropyBackward(const HostTensor &h, const HostTensor &w,
                                                    const HostTensor &labels, double lossScale,
                                                    const LogitOf &logit, double smoothing) {
  HostTensor logits = linear(h, w), slopes = logits;
  for (int64_t i = 0; i < logits.size(); ++i) {
    Logit made = logit(logits.data[i]);
    logits.data[i] = made.value, slopes.data[i] = made.derivative;
  }
  HostTensor dlogits = HostTensor::zeros(logits.shape);
  for (int64_t m = 0; m < logits.rows(); ++m) {
    int64_t label = labels.data[m];
    if (label == noLabel)
      continue;
    double lse = logSumExp(logits, m);
    for (int64_t v = 0; v < logits.columns(); ++v)
      dlogits.at(m, v) =
          lossScale * slopes.at(m, v) *
          (std::exp(logits.at(m, v) - lse) - target(v, label, logits.columns(), smoothing));
  }
  return {rowLoss(logits, labels, smoothing), linearBackward(dlogits, w)};
}
