#include "compiler/tools/PlanSize.h"
#include "compiler/tools/Output.h"

#include "gtest/gtest.h"

using namespace lorac;
using namespace lorac::tools;

namespace {

const char *const plan = R"({
  "limits": {"max_tokens": 128},
  "weights": [{"format": "f32", "parts": [{"name": "panels", "bytes": 4096}]},
              {"format": "nf4<64>", "parts": [{"name": "codes", "bytes": 1000}, {"name": "absmax", "bytes": 24}]},
              {"format": "f32", "parts": [{"name": "panels", "bytes": 4}]}],
  "arena": {"bytes": 5000, "scratch_bytes": 300,
            "regions": [{"name": "params", "kind": "params", "offset": 0, "count": 10},
                        {"name": "grads", "kind": "grads", "offset": 40, "count": 10},
                        {"name": "exp_avg", "kind": "state", "offset": 80, "count": 10},
                        {"name": "z", "kind": "state", "offset": 120, "count": 10},
                        {"name": "sensitivity", "kind": "importance", "offset": 160, "count": 10}]},
  "programs": {"train": [{"flops": 100}, {"flops": 23}]}})";

TEST(PlanSizeTest, AddsUp) {
  Result<PlanSize> size = readPlanSize(plan);
  ASSERT_TRUE(size) << size.error().message;
  EXPECT_EQ(size->weights.at("f32"), 4100u);
  EXPECT_EQ(size->weights.at("nf4<64>"), 1024u);
  EXPECT_EQ(size->adapters, 160u) << "params, grads and two states";
  EXPECT_EQ(size->parameters, 10u);
  EXPECT_EQ(size->weightBytes(), 4100u + 1024u);
  EXPECT_EQ(size->arena, 5000u);
  EXPECT_EQ(size->scratch, 300u);
  EXPECT_EQ(size->flops, 123);
}

TEST(PlanSizeTest, ABrokenPlanIsOurBug) {
  EXPECT_EQ(readPlanSize("{").error().code, Exit::Bug);
  EXPECT_EQ(readPlanSize("{\"weights\": []}").error().code, Exit::Bug);
  std::string old = plan;
  old.replace(old.find("regions"), 7, "region");
  EXPECT_EQ(readPlanSize(old).error().code, Exit::Bug);
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
