#include "compiler/tools/PlanSize.h"
#include "compiler/tools/Output.h"

#include "gtest/gtest.h"

using namespace lorac;
using namespace lorac::tools;

namespace {

train::Plan plan() {
  using train::RegionKind;
  train::Plan plan;
  plan.maxTokens = 128;
  auto weight = [&](const char *format, std::vector<train::PlanPart> parts) {
    plan.weights.emplace_back().format = format;
    plan.weights.back().parts = std::move(parts);
  };
  weight("f32", {{"panels", 4096}});
  weight("nf4<64>", {{"codes", 1000}, {"absmax", 24}});
  weight("f32", {{"panels", 4}});
  plan.arenaBytes = 5000;
  plan.scratchBytes = 300;
  plan.regions = {{"params", RegionKind::Params, 0, 10},
                  {"grads", RegionKind::Grads, 40, 10},
                  {"exp_avg", RegionKind::State, 80, 10},
                  {"z", RegionKind::State, 120, 10},
                  {"q", RegionKind::State, 160, 12, train::Storage::DynamicSigned},
                  {"sensitivity", RegionKind::Importance, 172, 10}};
  plan.train.resize(2);
  plan.train[0].flops = 100, plan.train[1].flops = 23;
  return plan;
}

TEST(PlanSizeTest, AddsUp) {
  const PlanSize size = sizeOf(plan());
  EXPECT_EQ(size.weights.at("f32"), 4100u);
  EXPECT_EQ(size.weights.at("nf4<64>"), 1024u);
  EXPECT_EQ(size.adapters, 172u) << "params, grads and three states, one of them in 8 bits";
  EXPECT_EQ(size.tokens, 128);
  EXPECT_EQ(size.parameters, 10u);
  EXPECT_EQ(size.weightBytes(), 4100u + 1024u);
  EXPECT_EQ(size.arena, 5000u);
  EXPECT_EQ(size.scratch, 300u);
  EXPECT_EQ(size.flops, 123);
}

TEST(OutputTest, Bytes) {
  EXPECT_EQ(binaryBytes(0), "0 B");
  EXPECT_EQ(binaryBytes(1023), "1023 B");
  EXPECT_EQ(binaryBytes(1024), "1.0 KiB");
  EXPECT_EQ(binaryBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(binaryBytes(1.5 * 1024 * 1024 * 1024), "1.5 GiB");
}

TEST(OutputTest, Groups) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(grouped(-1234), "-1,234");
  EXPECT_EQ(grouped(-123), "-123");
}

} // namespace
