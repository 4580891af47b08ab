// A program on the CPU between its steps: gradient's norm, update and importance, against the same
// done by hand.
#include "BackendChecks.h"
#include "FakeTriplets.h"
#include "ImportanceReference.h"

#include "runtime/train/Backend.h"
#include "runtime/train/StepScalars.h"
#include "runtime/train/ranks/TripletParams.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <unistd.h>

namespace lorac::train {
namespace {

class CpuBackendTest : public testing::Test {
protected:
  void TearDown() override { std::filesystem::remove(path); }

  /// Opens the program; failures are the test's.
  void open(const std::string &json, int threads = 2) {
    Result<Plan> parsed = parsePlan(json);
    ASSERT_TRUE(parsed) << parsed.error().message;
    plan = std::move(*parsed);
    ASSERT_TRUE(writeProgram({{"module.so", fileBytes(FAKE_MODULE)}, {"plan.json", json}}, path));
    payload = *Payload::read(path);
    pool = std::make_unique<ThreadPool>(threads);
    auto opened = Backend::open({payload, plan, *pool, "", 7, [](const std::string &) {}});
    ASSERT_TRUE(opened) << opened.error().message;
    backend = std::move(*opened);
    count = size_t(plan.region(RegionKind::Params).count);
  }
  std::vector<float> floats(const float *from) const { return {from, from + count}; }
  /// On the CPU they are the arena's own.
  float *grads() { return const_cast<float *>(*backend->grads()); }

  std::string path = testing::TempDir() + "cpu-backend." + std::to_string(getpid());
  Payload payload;
  std::unique_ptr<ThreadPool> pool;
  Plan plan;
  std::unique_ptr<Backend> backend;
  size_t count = 0;
};

TEST_F(CpuBackendTest, OptimizerIsAdamW) {
  for (int threads : {1, 3}) {
    open(fakePlanJson(), threads);
    test::AdamWBeside adam(*backend, plan);
    std::vector<float> g(count);
    for (int step = 1; step <= 6; ++step) {
      for (size_t i = 0; i < count; ++i)
        grads()[i] = g[i] = std::sin(float(i) * float(step)) + 0.25f;
      adam.update(step, g);
    }
    adam.end();
  }
}

/// AdaLoRA: importance takes gradients as the update did, and what dies is zero in all that is
/// trained.
TEST_F(CpuBackendTest, ImportanceTakesClippedGradients) {
  open(tripletPlanJson({3, 2}));
  const std::vector<ParamGroup> groups = makeGroups(plan);
  Result<std::vector<TripletLayout>> layouts = tripletLayouts(plan.params, plan.ranks->names());
  ASSERT_TRUE(layouts);
  const test::Importance importance{0.85, 0.6};
  std::vector<float> g(count), sensitivity(count), uncertainty(count);
  for (int step = 1; step <= 3; ++step) {
    for (size_t i = 0; i < count; ++i)
      grads()[i] = g[i] = std::cos(float(i) * float(step));
    const double maxNorm = step == 2 ? 0.0 : 0.5;
    Result<float> norm = backend->gradNorm(maxNorm);
    ASSERT_TRUE(norm && backend->update(stepScalars(plan.updateScalars, groups, 1e-2, step)) &&
                backend->takeImportance(stepScalars(plan.importanceScalars, groups, 1e-2, step)));
    const std::vector<float> p = floats(backend->read()->params);
    importance.update(*layouts, p.data(), g.data(), test::clipFactor(*norm, maxNorm),
                      sensitivity.data(), uncertainty.data());
    EXPECT_EQ(floats(backend->read()->find("sensitivity")), sensitivity) << step;
    EXPECT_EQ(floats(backend->read()->find("uncertainty")), uncertainty) << step;
  }
  ASSERT_TRUE(backend->zeroTriplets({{0, 1, 2}, {0, 1}}, {{}, {}}));
  const TrainedFloats trained = *backend->read();
  EXPECT_EQ(floats(trained.params), std::vector<float>(count));
  ASSERT_EQ(trained.others.size(), 4u);
  for (const TrainedFloats::Region &region : trained.others)
    EXPECT_EQ(floats(region.floats), std::vector<float>(count)) << region.name;
}

TEST_F(CpuBackendTest, CopiesWithinTheArena) {
  open(fakePlanJson());
  test::expectCopiesWithinTheArena(*backend, plan);
}

/// Nothing to train: no optimizer, and a step changes nothing.
TEST_F(CpuBackendTest, WithoutParamsAStepIsNone) {
  Json json = Json::parse(fakePlanJson());
  json["params"] = Json::array();
  for (Json &region : json["arena"]["regions"])
    region["count"] = 0;
  json.erase("optimizer");
  for (const char *key : {"update", "norm", "update_spans"})
    json["io"].erase(key);
  json["programs"].erase("update");
  open(json.dump());
  EXPECT_EQ(*backend->gradNorm(1), 0);
  EXPECT_TRUE(backend->update(stepScalars(plan.updateScalars, makeGroups(plan), 0.1, 1)));
}

} // namespace
} // namespace lorac::train
