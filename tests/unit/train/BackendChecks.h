#pragma once
// What a Backend does whatever it runs on.

#include "AdamWReference.h"

#include "runtime/train/Backend.h"
#include "runtime/train/StepScalars.h"

#include <gtest/gtest.h>

#include <vector>

namespace lorac::train::test {

/// LoRA+ with AdamW by hand, beside the programs of a backend.
class AdamWBeside {
public:
  AdamWBeside(Backend &backend, const Plan &plan)
      : backend(backend), plan(plan), groups(makeGroups(plan, 16.0)),
        p(size_t(plan.region(RegionKind::Params).count)), m(p.size()), v(p.size()) {}

  /// The end of update `step` (from 1), for which the backend has the gradients `g`; every other
  /// one is clipped.
  void update(int step, const std::vector<float> &g) {
    SCOPED_TRACE(step);
    const double maxNorm = step % 2 ? 0.25 : 0.0;
    Result<float> norm = backend.gradNorm(maxNorm);
    ASSERT_TRUE(norm) << norm.error().message;
    EXPECT_FLOAT_EQ(*norm, gradNorm(g));
    const float clip = clipFactor(*norm, maxNorm);
    EXPECT_EQ(clip < 1, step % 2 == 1);
    ASSERT_TRUE(backend.update(stepScalars(plan.updateScalars, groups, 1e-2, step)));
    applyUpdate(plan.spans(), adam.scalars(groups, 1e-2, step), clip, p.data(), g.data(), m.data(),
                v.data());
    Result<TrainedFloats> trained = backend.read();
    ASSERT_TRUE(trained);
    EXPECT_EQ(floats(trained->params), p);
    EXPECT_EQ(floats(trained->find("exp_avg")), m);
    EXPECT_EQ(floats(trained->find("exp_avg_sq")), v);
    EXPECT_EQ(trained->find("params"), nullptr);
  }
  /// That there was something to do.
  void end() const { EXPECT_NE(p[0], 0); }

private:
  std::vector<float> floats(const float *from) const { return {from, from + p.size()}; }

  Backend &backend;
  const Plan &plan;
  const AdamW adam{0.9, 0.999, 1e-8, 0.01};
  const std::vector<ParamGroup> groups;
  std::vector<float> p, m, v;
};

inline void expectCopiesWithinTheArena(Backend &backend, const Plan &plan) {
  Device &device = backend.device();
  const std::vector<float> some = {1, 2, 3, 4};
  const int64_t from = plan.region("exp_avg").offset, to = plan.region("exp_avg_sq").offset;
  ASSERT_TRUE(device.write(from, some.data(), 16));
  ASSERT_TRUE(device.copy(to + 4, from + 8, 8));
  Result<TrainedFloats> trained = backend.read();
  ASSERT_TRUE(trained);
  const float *second = trained->find("exp_avg_sq");
  EXPECT_EQ(std::vector<float>(second, second + plan.region(RegionKind::Params).count),
            (std::vector<float>{0, 3, 4, 0, 0, 0, 0, 0}));
}

} // namespace lorac::train::test
