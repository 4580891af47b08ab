#include "runtime/train/Optimizer.h"

#include <algorithm>
#include <cmath>

namespace lorac::train {

namespace {

constexpr int64_t block = 4096;

/// The scalars of one update, rounded to float where torch hands them to its kernels.
struct Scalars {
  float decay, oneMinusBeta1, beta2, oneMinusBeta2, correction2Sqrt, eps, minusStep, clip;
};

void updateRange(const Scalars &s, int64_t count, float *__restrict p, const float *__restrict grad,
                 float *__restrict m, float *__restrict v) {
  for (int64_t i = 0; i < count; ++i) {
    float g = grad[i] * s.clip;
    float decayed = p[i] * s.decay;
    float mean = m[i] + s.oneMinusBeta1 * (g - m[i]);
    float square = v[i] * s.beta2 + s.oneMinusBeta2 * g * g;
    m[i] = mean;
    v[i] = square;
    float denominator = std::sqrt(square) / s.correction2Sqrt + s.eps;
    p[i] = decayed + s.minusStep * mean / denominator;
  }
}

} // namespace

std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio) {
  std::vector<ParamGroup> groups;
  for (const PlanParam &param : plan.params) {
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const ParamGroup &g) { return g.name == param.group; });
    if (group == groups.end()) {
      groups.push_back({param.group, param.group == "lora_B" ? loraPlusRatio : 1.0, {}});
      group = groups.end() - 1;
    }
    group->spans.push_back({param.offset, param.count()});
  }
  return groups;
}

void AdamW::apply(ThreadPool &pool, const std::vector<ParamGroup> &groups, double learningRate,
                  int64_t update, float clip, float *params, const float *grads, float *expAvg,
                  float *expAvgSq) const {
  struct Piece {
    int64_t offset, count;
    const Scalars *scalars;
  };
  double correction1 = 1.0 - std::pow(beta1, double(update));
  double correction2 = 1.0 - std::pow(beta2, double(update));
  std::vector<Scalars> scalars;
  scalars.reserve(groups.size());
  std::vector<Piece> pieces;
  for (const ParamGroup &group : groups) {
    double lr = learningRate * group.lrRatio;
    scalars.push_back({float(1.0 - lr * weightDecay), float(1.0 - beta1), float(beta2),
                       float(1.0 - beta2), float(std::sqrt(correction2)), float(eps),
                       float(-(lr / correction1)), clip});
    for (const ParamGroup::Span &span : group.spans)
      for (int64_t done = 0; done < span.count; done += block)
        pieces.push_back({span.offset + done, std::min(block, span.count - done), &scalars.back()});
  }
  pool.parallelFor(int64_t(pieces.size()), Split::Shares, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece &piece = pieces[size_t(i)];
      updateRange(*piece.scalars, piece.count, params + piece.offset, grads + piece.offset,
                  expAvg + piece.offset, expAvgSq + piece.offset);
    }
  });
}

float gradNorm(ThreadPool &pool, const float *grads, int64_t count) {
  std::vector<double> sums(size_t((count + block - 1) / block));
  pool.parallelFor(int64_t(sums.size()), Split::Shares, [&](int, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      double sum = 0;
      for (int64_t i = b * block, last = std::min(count, i + block); i < last; ++i)
        sum += double(grads[i]) * double(grads[i]);
      sums[size_t(b)] = sum;
    }
  });
  double total = 0;
  for (double sum : sums)
    total += sum;
  return float(std::sqrt(total));
}

float clipFactor(float norm, double maxNorm) {
  if (maxNorm <= 0)
    return 1.0f;
  return std::min(1.0f, float(maxNorm) / (norm + 1e-6f));
}

} // namespace lorac::train
