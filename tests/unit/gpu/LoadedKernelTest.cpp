// Which binary of a kernel is taken, and what a GPU that takes none is told.
#include "runtime/gpu/LoadedKernel.h"
#include "tests/unit/gpu/FakeCuda.h"

#include <gtest/gtest.h>

namespace lorac::gpu {
namespace {

constexpr std::string_view cubin = "\177ELF", ptx = ".version 9.0";

struct Case {
  const char *settings;
  std::vector<KernelBinary> binaries;
  int architecture; ///< 0: none
  bool fromPtx;
};

TEST(LoadedKernel, TakesTheNearestBinary) {
  const KernelBinary b75{75, false, cubin, ptx}, b80{80, false, cubin, ptx},
      b86{86, false, cubin, ptx}, b90{90, false, cubin, ptx}, b90a{90, true, cubin, ptx},
      bare80{80, false, cubin, ""};
  const Case cases[] = {
      {"capability=80", {b75, b80, b86, b90}, 80, false},
      {"capability=89", {b75, b80, b86, b90}, 86, false}, // the highest of its major version
      {"capability=90", {b80, b90, b90a}, 90, false},
      {"capability=90", {b80, b90a}, 90, false},
      {"capability=100", {b80, b90a}, 80, true}, // another major version: PTX, and not that of 90a
      {"capability=120", {b75, b80, b90}, 90, true},
      {"capability=86,cubin=209", {b80}, 80, true}, // refused: PTX
      {"capability=80", {b86, b90}, 0, false},
      {"capability=120", {bare80}, 0, false},
      {"capability=80", {}, 0, false},
  };
  for (const Case &c : cases) {
    FakeCuda fake(c.settings);
    auto context = Context::open();
    ASSERT_TRUE(context);
    auto kernel = LoadedKernel::load(*context, "k", c.binaries, {256, 0});
    ASSERT_EQ(bool(kernel), c.architecture != 0) << c.settings;
    if (!kernel) {
      EXPECT_EQ(kernel.error().code, Exit::Failed);
      EXPECT_NE(kernel.error().message.find("runs none of them; compile the spec with --arch sm_"),
                std::string::npos)
          << kernel.error().message;
      continue;
    }
    EXPECT_EQ(kernel->architecture(), c.architecture) << c.settings;
    EXPECT_EQ(kernel->fromPtx(), c.fromPtx) << c.settings;
  }
}

struct Refusal {
  const char *settings, *name;
  BlockShape shape;
  Exit code;
  const char *message;
};

TEST(LoadedKernel, RefusalsAreNamed) {
  const Refusal refusals[] = {
      {"cubin=209,ptx=222",
       "k",
       {256, 0},
       Exit::Failed,
       "kernel 'k' does not load on Fake GPU (sm_80): cubin of sm_80: CUDA_ERROR_209 (the fake "
       "driver was told to); PTX of sm_80: CUDA_ERROR_222 (the fake driver was told to), 'line 1: "
       "no such instruction'; the driver knows CUDA 12.8: a newer one may take the PTX, or compile "
       "the spec with --arch sm_80"},
      {"cubin=2", "k", {256, 0}, Exit::DoesNotFit, "CUDA_ERROR_2"},
      {"", "absent", {256, 0}, Exit::ForeignFile, "holds no such kernel"},
      {"threads=128", "k", {256, 0}, Exit::Failed, "its registers leave 128 on Fake GPU (sm_80)"},
      {"shared=101376",
       "k",
       {256, 120000},
       Exit::DoesNotFit,
       "needs 120000 bytes of shared memory, a block of Fake GPU (sm_80) has 101376"},
      {"attribute=1", "k", {256, 60000}, Exit::Failed, "asking for 60000 bytes of shared memory"},
  };
  for (const Refusal &refusal : refusals) {
    FakeCuda fake(refusal.settings);
    auto context = Context::open();
    ASSERT_TRUE(context);
    const KernelBinary binaries[] = {{80, false, cubin, ptx}};
    auto kernel = LoadedKernel::load(*context, refusal.name, binaries, refusal.shape);
    ASSERT_FALSE(kernel) << refusal.message;
    EXPECT_EQ(kernel.error().code, refusal.code) << kernel.error().message;
    EXPECT_NE(kernel.error().message.find(refusal.message), std::string::npos)
        << kernel.error().message;
  }
  FakeCuda fake("attribute=1"); // not asked for what every kernel has
  auto context = Context::open();
  const KernelBinary binaries[] = {{80, false, cubin, ptx}};
  EXPECT_TRUE(LoadedKernel::load(*context, "k", binaries, {256, 48 << 10}));
}

} // namespace
} // namespace lorac::gpu
