#include "compiler/codegen/cpu/Target.h"
#include <gmock/gmock.h>

using lorac::cpu::CpuTarget;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

static CpuTarget get(const char *name) {
  llvm::Expected<CpuTarget> target = CpuTarget::get(name);
  if (!target)
    llvm::report_fatal_error(target.takeError());
  return *target;
}

TEST(CpuTarget, BaseHasNarrowVectorsAndNoFma) {
  CpuTarget target = get("x86-64");
  EXPECT_EQ(target.vectorLanes, 4);
  EXPECT_FALSE(target.fma || target.f16c || target.avx2 || target.avx512);
  EXPECT_TRUE(target.featureNames().empty());
}

TEST(CpuTarget, LevelsOfX86) {
  CpuTarget v3 = get("x86-64-v3"), v4 = get("x86-64-v4");
  EXPECT_TRUE(v3.avx2 && v3.fma && v3.f16c && !v3.avx512);
  EXPECT_EQ(v3.vectorLanes, 8);
  EXPECT_THAT(v3.featureNames(), Contains("fma"));
  EXPECT_THAT(v3.featureNames(), Not(Contains("avx512f")));
  EXPECT_TRUE(v4.avx512);
  EXPECT_THAT(v4.featureNames(), Contains("avx512vl"));
  EXPECT_EQ(get("znver4").featureNames(), get("znver4").featureNames());
  EXPECT_TRUE(get("znver4").avx512);
  EXPECT_TRUE(get("znver3").avx2 && !get("znver3").avx512);
}

TEST(CpuTarget, NativeIsACpuThatLlvmKnows) {
  CpuTarget native = get("native");
  EXPECT_EQ(get(native.cpu.c_str()).cpu, native.cpu);
}

TEST(CpuTarget, UnknownNameSuggests) {
  llvm::Expected<CpuTarget> target = CpuTarget::get("znver44");
  ASSERT_FALSE(static_cast<bool>(target));
  EXPECT_THAT(llvm::toString(target.takeError()),
              HasSubstr("no CPU is named 'znver44'; did you mean 'znver4'?"));
}
