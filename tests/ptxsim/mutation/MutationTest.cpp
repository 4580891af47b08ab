// Kernels that are right pass without a report; each bug that is seeded into them is found, in
// whatever order blocks and warps run.
#include "tests/ptxsim/mutation/Mutations.h"
#include "tests/ptxsim/mutation/Nvrtc.h"
#include "tests/ptxsim/mutation/Subjects.h"
#include <algorithm>

namespace ptxsim {
namespace {

constexpr uint64_t seeds[] = {0, 1, 2, 3, 4};
constexpr MmaMode modes[] = {MmaMode::Sequential, MmaMode::Double, MmaMode::Truncating};

class Original : public testing::TestWithParam<const char *> {};

TEST_P(Original, IsRightAndClean) {
  if (!hasNvrtc())
    GTEST_SKIP() << "no NVRTC here";
  std::string ptx = compileCuda(sourceOf(GetParam()));
  for (uint64_t seed : seeds)
    for (MmaMode mode : modes) {
      Gpu gpu;
      config().seed = seed;
      config().mma = mode;
      EXPECT_TRUE(subject(GetParam()).run(gpu, ptx).isRight());
      EXPECT_EQ(gpu.findings(), std::vector<ReportKind>());
    }
}

INSTANTIATE_TEST_SUITE_P(Mutation, Original, testing::Values("gemm.cu", "sum.cu", "scale.cu"),
                         [](const auto &info) {
                           std::string name = info.param;
                           return name.substr(0, name.find('.'));
                         });

class Mutant : public testing::TestWithParam<Mutation> {};

TEST_P(Mutant, IsFound) {
  if (!hasNvrtc())
    GTEST_SKIP() << "no NVRTC here";
  const Mutation &mutation = GetParam();
  std::string source = sourceOf(mutation.file), find = mutation.find;
  size_t at = source.find(find);
  ASSERT_NE(at, source.npos) << find;
  ASSERT_EQ(source.find(find, at + 1), source.npos) << find << " stands there twice";
  std::string ptx = compileCuda(source.replace(at, find.size(), mutation.replace));
  for (uint64_t seed : seeds) {
    Gpu gpu;
    config().seed = seed;
    config().maxSteps = 1 << 20;
    bool right = subject(mutation.file).run(gpu, ptx).isRight();
    std::vector<ReportKind> found = gpu.findings();
    if (mutation.by) {
      EXPECT_TRUE(std::count(found.begin(), found.end(), *mutation.by))
          << "seed " << seed << ": no " << *mutation.by << ", but " << testing::PrintToString(found)
          << " and " << (right ? "right" : "wrong") << " numbers";
      continue;
    }
    EXPECT_FALSE(right) << "seed " << seed;
    EXPECT_EQ(found, std::vector<ReportKind>()) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Mutation, Mutant, testing::ValuesIn(mutations()),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace

// Names, not bytes, where a test lists its parameters.
void PrintTo(const Mutation &mutation, std::ostream *out) { *out << mutation.name; }

} // namespace ptxsim
