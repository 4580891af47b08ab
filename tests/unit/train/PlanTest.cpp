#include "FakeProgram.h"

#include <gtest/gtest.h>

namespace lorac::train {
namespace {

std::string replaced(const std::string &from, const std::string &to) {
  std::string json = fakePlanJson();
  size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return json.replace(at, from.size(), to);
}

TEST(Plan, Reads) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->spec, "fake");
  EXPECT_EQ(plan->hiddenSize, 4);
  EXPECT_EQ(plan->train.size(), 5u);
  EXPECT_EQ(plan->train[0].args[1].weight, 0);
  EXPECT_EQ(plan->train[3].rowBegin, 8);
  EXPECT_EQ(plan->params[0].count(), 4);
  EXPECT_EQ(plan->weightBytes(), 256);
}

struct Misfit {
  const char *from, *to, *message;
};

TEST(Plan, RefusesMisfits) {
  const Misfit misfits[] = {
      {R"("abi": 1)", R"("abi": 2)", "is of ABI 2, this program runs ABI 1"},
      {R"("max_tokens": 16)", R"("max_tokens": 1600)",
       "'plan' has 'io.hidden' at 1024 + 102400 bytes"},
      {R"("logits": 3072)", R"("logits": 8000)", "'plan' has 'io.logits' at 8000"},
      {R"("ids": 256)", R"("ids": 260)", "overlapping"},
      {R"("ids": 256)", R"("ids": -4)", "'plan.io.ids' is -4, outside of"},
      {R"("ids": 256)", R"("ids": "x")", "'plan.io.ids' is not an integer"},
      {R"("kernel": 4)", R"("kernel": 5)", "'plan.programs.train[1].kernel' is 5"},
      {R"(["w", 0, 0], 0, 1024])", R"(["w", 1, 0], 0, 1024])", "args[1]' names no weight's part"},
      {R"(["w", 0, 0], 0, 1024])", R"(["w", 0, 3], 0, 1024])", "args[1]' names no weight's part"},
      {R"([448, 4096])", R"([448, 9000])", "is 9000, outside of [0, 8192]"},
      {R"("rows": [8, 8])", R"("rows": [8])", "needs [begin, count]"},
      {R"("space": "rows")", R"("space": "cols")", "has the space 'cols'"},
      {R"("scratch": 64)", R"("scratch": 65)", "scratch' is 65"},
      {R"("shape": [4, 1])", R"("shape": [9, 1])", "ends behind the region of 8 parameters"},
      {R"("exp_avg": {"offset": 128, "count": 8})", R"("exp_avg": {"offset": 128, "count": 7})",
       "has regions of different counts"},
      {R"("shape": [8, 4])", R"("shape": [9, 4])", "has no weight with as many rows"},
      {R"("shape": [8, 4])", R"("shape": [])", "needs one or two dimensions"},
      {R"("spec": "fake",)", "", "'plan' has no 'spec'"},
  };
  for (const Misfit &misfit : misfits) {
    Result<Plan> plan = parsePlan(replaced(misfit.from, misfit.to));
    ASSERT_FALSE(plan) << misfit.to;
    EXPECT_NE(plan.error().message.find(misfit.message), std::string::npos) << plan.error().message;
    EXPECT_EQ(plan.error().code, Exit::ForeignFile);
  }
}

TEST(Plan, CutAnywhereIsAnError) {
  std::string json = fakePlanJson();
  for (size_t size = 0; size < json.size(); size += 7)
    EXPECT_FALSE(parsePlan(std::string_view(json).substr(0, size))) << size;
}

TEST(Plan, ChecksCpuFeatures) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan);
  EXPECT_TRUE(checkCpu(*plan));
  plan->features = {"sse2", "amx-hyper"};
  Result<void> unknown = checkCpu(*plan);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'amx-hyper'"), std::string::npos);
  plan->device = "cuda";
  EXPECT_FALSE(checkCpu(*plan));
}

} // namespace
} // namespace lorac::train
