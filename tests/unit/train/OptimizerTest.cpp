#include "runtime/train/Optimizer.h"

#include "runtime/formats/Safetensors.h"
#include "runtime/train/Random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

namespace lorac::train {
namespace {

Plan twoTensors(int64_t a, int64_t b) {
  Plan plan;
  plan.params.push_back({"m.lora_A.weight", "m", "lora_A", {1, a}, 0, 1, 1});
  plan.params.push_back({"m.lora_B.weight", "m", "lora_B", {b, 1}, a, 1, 1});
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
  ThreadPool pool(2);
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
    LoracUpdate update = adam.scalars(groups, 1e-3, t, 0);
    update.clip = 0.5f;
    applyUpdate(pool, groups, update, p.data(), g.data(), m.data(), v.data());
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

/// torch.optim.AdamW's first update on the tiny Llama's adapters, LoRA and LoRA+
/// (tests/golden/README.md).
void checkTorchStep(const std::string &kind, double learningRate, double ratio) {
  std::string folder = LORAC_SOURCE_DIR "/tests/golden/tiny/tied/";
  auto init = formats::Safetensors::open(folder + kind + "_init/adapter_model.safetensors");
  auto train = formats::Safetensors::open(folder + kind + "_train.safetensors");
  ASSERT_TRUE(init && train);
  Plan plan;
  std::vector<float> p, g, expected;
  for (const formats::TensorInfo &tensor : init->tensors()) {
    bool isB = tensor.name.find("lora_B") != std::string::npos;
    plan.params.push_back(
        {tensor.name, "", isB ? "lora_B" : "lora_A", tensor.shape, int64_t(p.size()), 4, 2});
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
  ThreadPool pool(2);
  const std::vector<ParamGroup> groups = makeGroups(plan, ratio);
  const LoracUpdate update = AdamW{0.9, 0.999, 1e-8, 0.01}.scalars(groups, learningRate, 1, 0);
  applyUpdate(pool, groups, update, p.data(), g.data(), m.data(), v.data());
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
}

TEST(AdamW, LoraPlusAtRatioOneIsLora) {
  Plan plan = twoTensors(100, 100);
  std::vector<std::vector<float>> results;
  for (bool grouped : {true, false}) {
    std::vector<ParamGroup> groups =
        grouped ? makeGroups(plan, 1.0) : std::vector<ParamGroup>{{"all", 1.0, {{0, 200}}}};
    ThreadPool pool(grouped ? 1 : 3);
    std::vector<float> p(200, 0.5f), g(200), m(200), v(200);
    for (int t = 1; t <= 5; ++t) {
      for (size_t i = 0; i < 200; ++i)
        g[i] = std::sin(float(i) * float(t));
      applyUpdate(pool, groups, AdamW{0.9, 0.999, 1e-8, 0.1}.scalars(groups, 2e-4, t, 0), p.data(),
                  g.data(), m.data(), v.data());
    }
    results.push_back(p);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(AdamW, NormAndClip) {
  std::vector<float> g(100000);
  RandomStream random(5, "norm");
  double sum = 0;
  for (size_t i = 0; i < g.size(); ++i) {
    g[i] = random.normal(i);
    sum += double(g[i]) * g[i];
  }
  ThreadPool one(1), four(4);
  float norm = gradNorm(one, g.data(), int64_t(g.size()));
  EXPECT_NEAR(norm, std::sqrt(sum), 1e-4);
  EXPECT_EQ(norm, gradNorm(four, g.data(), int64_t(g.size())));
  EXPECT_EQ(clipFactor(0.5f, 1.0), 1.0f);
  EXPECT_FLOAT_EQ(clipFactor(4.0f, 1.0), 1.0f / (4.0f + 1e-6f));
  EXPECT_EQ(clipFactor(4.0f, 0.0), 1.0f);
}

} // namespace
} // namespace lorac::train
