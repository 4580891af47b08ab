#include "runtime/train/Optimizer.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace lorac::train {

namespace {

constexpr int64_t block = 4096;

void updateRange(const LoracUpdate &s, size_t group, int64_t count, float *__restrict p,
                 const float *__restrict grad, float *__restrict m, float *__restrict v) {
  const float decay = s.decay[group], minusStep = s.minus_step[group];
  for (int64_t i = 0; i < count; ++i) {
    float g = grad[i] * s.clip;
    float decayed = p[i] * decay;
    float mean = m[i] + s.one_minus_beta1 * (g - m[i]);
    float square = v[i] * s.beta2 + s.one_minus_beta2 * g * g;
    m[i] = mean;
    v[i] = square;
    float denominator = std::sqrt(square) / s.correction2_sqrt + s.eps;
    p[i] = decayed + minusStep * mean / denominator;
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

LoracUpdate AdamW::scalars(const std::vector<ParamGroup> &groups, double learningRate,
                           int64_t update, double maxNorm) const {
  assert(groups.size() <= LORAC_MAX_GROUPS && "parsePlan refuses more");
  double correction1 = 1.0 - std::pow(beta1, double(update));
  double correction2 = 1.0 - std::pow(beta2, double(update));
  LoracUpdate out{};
  out.one_minus_beta1 = float(1.0 - beta1);
  out.beta2 = float(beta2);
  out.one_minus_beta2 = float(1.0 - beta2);
  out.correction2_sqrt = float(std::sqrt(correction2));
  out.eps = float(eps);
  out.max_norm = float(maxNorm);
  out.gradient_scale = 1;
  out.clip = 1;
  for (size_t i = 0; i < groups.size(); ++i) {
    double lr = learningRate * groups[i].lrRatio;
    out.decay[i] = float(1.0 - lr * weightDecay);
    out.minus_step[i] = float(-(lr / correction1));
  }
  return out;
}

void applyUpdate(ThreadPool &pool, const std::vector<ParamGroup> &groups, const LoracUpdate &update,
                 float *params, const float *grads, float *expAvg, float *expAvgSq) {
  struct Piece {
    int64_t offset, count;
    size_t group;
  };
  std::vector<Piece> pieces;
  for (size_t group = 0; group < groups.size(); ++group)
    for (const ParamGroup::Span &span : groups[group].spans)
      for (int64_t done = 0; done < span.count; done += block)
        pieces.push_back({span.offset + done, std::min(block, span.count - done), group});
  pool.parallelFor(int64_t(pieces.size()), Split::Shares, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece &piece = pieces[size_t(i)];
      updateRange(update, piece.group, piece.count, params + piece.offset, grads + piece.offset,
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
