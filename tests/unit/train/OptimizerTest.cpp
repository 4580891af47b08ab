// What an update is told, from the plan's formulas, bit by bit as torch's AdamW has it; and that
// AdamW itself (AdamWReference.h), which updates are held against, is torch's.
#include "AdamWReference.h"
#include "FakeProgram.h"

#include "runtime/formats/Safetensors.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Random.h"
#include "runtime/train/StepScalars.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <tuple>

namespace lorac::train {
namespace {

using test::AdamW;
using test::applyUpdate;

Plan twoTensors(int64_t a, int64_t b) {
  Plan plan;
  plan.params.push_back({"m.lora_A.weight", "m", AdapterPart::A, {1, a}, 0, 1, 1});
  plan.params.push_back({"m.lora_B.weight", "m", AdapterPart::B, {b, 1}, a, 1, 1});
  return plan;
}

/// The textbook's AdamW in double, one element at a time: an oracle of other precision and other
/// order.
struct DoubleAdamW {
  double lr, beta1, beta2, eps, decay;
  void step(double &p, double &m, double &v, double g, int t) const {
    p -= lr * decay * p;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    double mHat = m / (1 - std::pow(beta1, t)), vHat = v / (1 - std::pow(beta2, t));
    p -= lr * mHat / (std::sqrt(vHat) + eps);
  }
};

TEST(AdamW, FollowsTheFormulaOverManySteps) {
  constexpr int n = 5000;
  Plan plan = twoTensors(3000, 2000);
  AdamW adam{0.9, 0.999, 1e-8, 0.01};
  std::vector<ParamGroup> groups = makeGroups(plan, 16.0);
  std::vector<float> p(n), g(n), m(n), v(n);
  std::vector<double> dp(n), dm(n), dv(n);
  RandomStream random(3, "adam");
  for (int i = 0; i < n; ++i)
    dp[size_t(i)] = p[size_t(i)] = random.normal(uint64_t(i));
  for (int t = 1; t <= 20; ++t) {
    for (int i = 0; i < n; ++i)
      g[size_t(i)] = random.normal(uint64_t(t) * n + uint64_t(i)) * (i % 7 == 0 ? 1e-6f : 1.0f);
    applyUpdate(plan.spans(), adam.scalars(groups, 1e-3, t), 0.5f, p.data(), g.data(), m.data(),
                v.data());
    for (int i = 0; i < n; ++i) {
      DoubleAdamW oracle{i < 3000 ? 1e-3 : 16e-3, 0.9, 0.999, 1e-8, 0.01};
      oracle.step(dp[size_t(i)], dm[size_t(i)], dv[size_t(i)], 0.5 * g[size_t(i)], t);
    }
  }
  for (int i = 0; i < n; ++i) {
    ASSERT_NEAR(p[size_t(i)], dp[size_t(i)], 2e-6 * std::max(1.0, std::fabs(dp[size_t(i)]))) << i;
    ASSERT_NEAR(m[size_t(i)], dm[size_t(i)], 1e-6) << i;
  }
}

/// torch.optim.AdamW's first update on the tiny Llama's adapters, LoRA, LoRA+ and DoRA
/// (tests/golden/README.md).
void checkTorchStep(const std::string &kind, double learningRate, double ratio) {
  std::string folder = LORAC_SOURCE_DIR "/tests/golden/tiny/tied/";
  auto init = formats::Safetensors::open(folder + kind + "_init/adapter_model.safetensors");
  auto train = formats::Safetensors::open(folder + kind + "_train.safetensors");
  ASSERT_TRUE(init && train);
  Plan plan;
  std::vector<float> p, g, expected;
  for (const formats::TensorInfo &tensor : init->tensors()) {
    AdapterPart part = AdapterPart::A;
    for (AdapterPart other : {AdapterPart::B, AdapterPart::Magnitude})
      if (tensor.name.find(toString(other)) != std::string::npos)
        part = other;
    plan.params.push_back({tensor.name, "", part, tensor.shape, int64_t(p.size()), 4, 2});
    for (auto [file, name, out] : {std::tuple{&*init, tensor.name, &p},
                                   {&*train, "grad." + tensor.name, &g},
                                   {&*train, "after1." + tensor.name, &expected}}) {
      Result<std::vector<float>> values = file->floats(name);
      ASSERT_TRUE(values) << values.error().message;
      out->insert(out->end(), values->begin(), values->end());
    }
  }
  ASSERT_EQ(p.size(), expected.size());
  std::vector<float> start = p, m(p.size()), v(p.size());
  const AdamW::Scalars scalars =
      AdamW{0.9, 0.999, 1e-8, 0.01}.scalars(makeGroups(plan, ratio), learningRate, 1);
  applyUpdate(plan.spans(), scalars, 1, p.data(), g.data(), m.data(), v.data());
  double moved = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    ASSERT_NEAR(p[i], expected[i], 1e-7 + 2e-7 * std::fabs(expected[i])) << i;
    moved = std::max(moved, double(std::fabs(p[i] - start[i])));
  }
  EXPECT_GT(moved, 4e-3) << "the golden's learning rate";
}

TEST(AdamW, IsTorchs) {
  checkTorchStep("lora", 5e-3, 1);
  checkTorchStep("loraplus", 1.25e-3, 16);
  checkTorchStep("dora", 5e-3, 1);
}

/// The fake plan with other numbers in AdamW's formulas.
Plan planOf(const AdamW &adam) {
  Json json = Json::parse(fakePlanJson());
  const Json formulas[] = {{1, adam.beta1, "-"},
                           {adam.beta2},
                           {1, adam.beta2, "-"},
                           {1, adam.beta2, "update", "pow", "-", "sqrt"},
                           {adam.eps},
                           {1, "rate", adam.weightDecay, "*", "-"},
                           {"rate", 1, adam.beta1, "update", "pow", "-", "/", "neg"}};
  for (size_t i = 0; i < std::size(formulas); ++i)
    json["optimizer"]["scalars"][i]["formula"] = formulas[i];
  Result<Plan> plan = parsePlan(json.dump());
  EXPECT_TRUE(plan) << plan.error().message;
  return *plan;
}

TEST(StepScalars, AreThoseOfAdamWBitByBit) {
  for (auto [beta1, beta2, eps] : {std::tuple{0.9, 0.999, 1e-8},
                                   {0.8, 0.95, 1e-6},
                                   {0.95, 0.98, 1e-10},
                                   {1.0 / 3, 0.9999, 1e-8}})
    for (double decay : {0.0, 0.01, 0.1, 1.0 / 7}) {
      const AdamW adam{beta1, beta2, eps, decay};
      const Plan plan = planOf(adam);
      for (double ratio : {1.0, 16.0, 2.5}) {
        const std::vector<ParamGroup> groups = makeGroups(plan, ratio);
        ASSERT_EQ(groups.size(), 2u);
        for (double rate : {1e-6, 2e-4, 1.0 / 300, 0.1, 0.0})
          for (int64_t update = 1; update <= 1000; ++update) {
            const std::vector<float> ours = stepScalars(plan.updateScalars, groups, rate, update),
                                     theirs = adam.scalars(groups, rate, update).flat();
            ASSERT_EQ(ours.size(), theirs.size());
            ASSERT_EQ(std::memcmp(ours.data(), theirs.data(), 4 * ours.size()), 0)
                << beta1 << ", " << beta2 << ", " << decay << ", " << ratio << ", " << rate << ", "
                << update << ": " << testing::PrintToString(ours) << " "
                << testing::PrintToString(theirs);
          }
      }
    }
}

TEST(StepScalars, LieWhereThePlanSays) {
  Json json = Json::parse(fakePlanJson());
  json["optimizer"]["floats"] = 8;
  json["optimizer"]["scalars"] =
      Json::parse(R"([{"name": "last", "at": 5, "by_group": 0, "formula": ["update"]},
                      {"name": "rate", "at": 1, "by_group": 3, "formula": ["rate"]},
                      {"name": "all", "at": 0, "by_group": 0, "formula": ["rate"]}])");
  Result<Plan> plan = parsePlan(json.dump());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(stepScalars(plan->updateScalars, makeGroups(*plan, 16), 0.25, 7),
            (std::vector<float>{0.25f, 0.25f, 0, 0, 4, 7, 0, 0}))
      << "what is of no group has no group's rate; a place without a formula is 0";
  EXPECT_TRUE(stepScalars({}, makeGroups(*plan), 0.25, 7).empty());
}

TEST(StepScalars, GroupsAreNumberedAsTheSpansAre) {
  Plan plan = twoTensors(5000, 3);
  plan.params.push_back({"n.lora_A.weight", "n", AdapterPart::A, {1, 2}, 5003, 1, 1});
  plan.params.push_back({"n.lora_E.weight", "n", AdapterPart::E, {1, 1}, 5005, 1, 1});
  const std::vector<ParamGroup> groups = makeGroups(plan, 16);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[1].part, AdapterPart::B);
  EXPECT_EQ(groups[1].lrRatio, 16);
  EXPECT_EQ(groups[2].lrRatio, 1);
  plan.params.back().part = AdapterPart::Magnitude;
  EXPECT_EQ(makeGroups(plan, 16)[2].lrRatio, 16) << "PEFT: of B and of vectors";
  plan.params.back().part = AdapterPart::E;
  std::vector<AdapterPart> parts;
  for (const PlanSpan &span : plan.spans())
    parts.push_back(groups[size_t(span.group)].part);
  EXPECT_EQ(parts, (std::vector<AdapterPart>{AdapterPart::A, AdapterPart::A, AdapterPart::B,
                                             AdapterPart::A, AdapterPart::E}));
}

} // namespace
} // namespace lorac::train
