#include "runtime/train/Schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

ScheduleCurve::ScheduleCurve(const dsl::ScheduleSpec &spec)
    : kind(*spec.name), floor(*spec.minLrRatio), power(*spec.power), timescale(*spec.timescale),
      decaySteps(*spec.decaySteps), decayType(*spec.decayType) {}

std::string ScheduleCurve::shown() const {
  std::string text(toString(kind));
  if (kind == ScheduleName::Polynomial)
    text += fmt::format(" of power {}", power);
  if (kind == ScheduleName::InverseSqrt && timescale > 0)
    text += fmt::format(" over {} steps", timescale);
  if (kind == ScheduleName::WarmupStableDecay)
    text += fmt::format(", {} over the last {} steps", toString(decayType),
                        decaySteps > 0 ? std::to_string(decaySteps) : "tenth of the");
  return text;
}

double Schedule::factor(int64_t step) const {
  const bool isWarm = step >= warmupSteps;
  const double factor =
      isWarm ? falling(step) : double(step) / double(std::max<int64_t>(1, warmupSteps));
  const bool isLifted = isWarm || curve.kind == ScheduleName::WarmupStableDecay;
  return curve.floor > 0 && isLifted ? factor * (1 - curve.floor) + curve.floor : factor;
}

double Schedule::falling(int64_t step) const {
  const double rest = double(std::max<int64_t>(1, totalSteps - warmupSteps));
  switch (curve.kind) {
  case ScheduleName::Constant:
    return 1;
  case ScheduleName::Linear:
    return std::max(0.0, double(totalSteps - step) / rest);
  case ScheduleName::Cosine:
    return std::max(0.0, 0.5 * (1.0 + std::cos(M_PI * (double(step - warmupSteps) / rest))));
  case ScheduleName::Polynomial:
    return std::pow(std::max(0.0, 1 - double(step - warmupSteps) / rest), curve.power);
  case ScheduleName::InverseSqrt: {
    const int64_t scale = curve.timescale > 0 ? curve.timescale
                          : warmupSteps > 0   ? warmupSteps
                                              : 10000;
    return 1 / std::sqrt(double(step + scale - warmupSteps) / double(scale));
  }
  case ScheduleName::WarmupStableDecay:
    return stableThenFalling(step);
  }
  return 1;
}

double Schedule::stableThenFalling(int64_t step) const {
  const int64_t steps = curve.decaySteps > 0 ? curve.decaySteps : (totalSteps + 9) / 10;
  const double gone = double(step - std::max(warmupSteps, totalSteps - steps)) /
                      double(std::max<int64_t>(1, steps));
  if (gone < 0)
    return 1;
  if (gone >= 1)
    return 0;
  switch (curve.decayType) {
  case dsl::DecayType::Linear:
    return 1 - gone;
  case dsl::DecayType::OneMinusSqrt:
    return 1 - std::sqrt(gone);
  case dsl::DecayType::Cosine:
    break;
  }
  return 0.5 * (1.0 + std::cos(M_PI * gone));
}

int64_t warmupFromRatio(double ratio, int64_t totalSteps) {
  return int64_t(std::ceil(ratio * double(totalSteps)));
}

} // namespace lorac::train
