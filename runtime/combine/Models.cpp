#include "runtime/combine/Models.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lorac::combine {
namespace {

constexpr ModelMethod methods[] = {
    {"linear", ModelForm::Weights, Pruning::None, false, true},
    {"slerp", ModelForm::Slerp},
    {"task_arithmetic", ModelForm::TaskVectors},
    {"ties", ModelForm::TaskVectors, Pruning::Magnitude, true, true},
    {"dare_linear", ModelForm::TaskVectors, Pruning::Random},
    {"dare_ties", ModelForm::TaskVectors, Pruning::Random, true},
    {"breadcrumbs", ModelForm::TaskVectors, Pruning::Outliers},
    {"breadcrumbs_ties", ModelForm::TaskVectors, Pruning::Outliers, true},
};

/// Vectors as near to one line as this are interpolated along the chord.
constexpr double colinear = 0.9995;

double dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                            [](double x, double y) { return x * y; });
}

std::vector<float> slerp(std::span<const float> from, std::span<const float> to, double t) {
  const auto lengthOf = [](std::span<const float> v) {
    const double length = std::sqrt(dot(v, v));
    return length > 1e-8 ? length : 1;
  };
  const double cosine = dot(from, to) / (lengthOf(from) * lengthOf(to));
  double ofFrom = 1 - t, ofTo = t;
  if (std::abs(cosine) <= colinear) {
    const double angle = std::acos(cosine);
    ofFrom = std::sin(angle - angle * t) / std::sin(angle);
    ofTo = std::sin(angle * t) / std::sin(angle);
  }
  std::vector<float> out(from.size());
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = float(ofFrom * double(from[i]) + ofTo * double(to[i]));
  return out;
}

double sizeOf(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [](double sum, float value) { return sum + std::abs(value); });
}

/// What is drawn is scaled to the size of all, as a sum of absolute values: not by 1/density.
void keepDrawn(std::span<float> values, std::span<const uint8_t> mask) {
  const double before = sizeOf(values);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = mask[i] ? values[i] : 0.0f;
  const double after = sizeOf(values);
  if (before >= 1e-7 && after >= 1e-7)
    for (float &value : values)
      value *= float(before / after);
}

void prune(const ModelSum &sum, size_t model, std::span<float> values, const Draw &draw) {
  if (sum.method.pruning == Pruning::None || sum.densities[model] >= 1)
    return;
  const double density = sum.densities[model];
  const auto count = int64_t(values.size());
  const int64_t keep = std::max<int64_t>(1, int64_t(density * double(count)));
  if (sum.method.pruning == Pruning::Random)
    keepDrawn(values, draw(model, count, density));
  else if (sum.method.pruning == Pruning::Magnitude)
    keepByMagnitude(values, 0, keep);
  else
    keepByMagnitude(values, std::min(int64_t(sum.gamma * double(count)), count - keep), keep);
}

/// The weighted sum of the values at one place, and of the weights that went into it.
struct Mixed {
  float sum = 0, weights = 0;
};

Mixed mix(const Tasks &tasks, std::span<const float> weights, size_t at, bool elects) {
  Mixed all;
  for (size_t task = 0; task < tasks.size(); ++task) {
    all.sum += weights[task] * tasks[task][at];
    all.weights += weights[task];
  }
  if (!elects)
    return all;
  const bool positive = all.sum >= 0;
  Mixed agreeing;
  for (size_t task = 0; task < tasks.size(); ++task)
    if (const float value = weights[task] * tasks[task][at]; positive ? value > 0 : value < 0) {
      agreeing.sum += value;
      agreeing.weights += weights[task];
    }
  return agreeing;
}

} // namespace

std::span<const ModelMethod> modelMethods() { return methods; }

std::vector<float> combineTensor(const ModelSum &sum, std::span<const float> base, Tasks models,
                                 const Draw &draw) {
  if (sum.method.form == ModelForm::Slerp)
    return slerp(models[0], models[1], sum.t);
  const std::vector<float> weights(sum.weights.begin(), sum.weights.end());
  const bool isTask = sum.method.form == ModelForm::TaskVectors;
  for (size_t model = 0; isTask && model < models.size(); ++model) {
    std::vector<float> &values = models[model];
    for (size_t i = 0; i < values.size(); ++i)
      values[i] -= base[i];
    prune(sum, model, values, draw);
  }
  std::vector<float> &out = models.front();
  for (size_t i = 0; i < out.size(); ++i) {
    const Mixed mixed = mix(models, weights, i, sum.method.elects);
    // Weights that cancel each other out divide nothing.
    const bool cancelled = sum.method.elects ? mixed.weights == 0 : std::abs(mixed.weights) < 1e-8f;
    const float value = sum.normalize && !cancelled ? mixed.sum / mixed.weights : mixed.sum;
    out[i] = isTask ? base[i] + float(sum.lambda) * value : value;
  }
  return std::move(out);
}

} // namespace lorac::combine
