// Drivers that are absent, old or refuse: each in words, with an exit code, and without a crash.
#include "runtime/gpu/Describe.h"
#include "runtime/gpu/Memory.h"
#include "runtime/gpu/Stream.h"
#include "tests/unit/gpu/FakeCuda.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace lorac::gpu {
namespace {

TEST(Driver, AbsentSaysWhatWasLookedForAndWhatToDo) {
  FakeCuda fake("", "/nowhere/libcuda.so.1");
  Result<std::shared_ptr<const Driver>> driver = Driver::open();
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, Exit::Failed);
  for (const char *part :
       {"no CUDA driver: looked for '/nowhere/libcuda.so.1'", "LORAC_LIBCUDA", "--target cpu"})
    EXPECT_NE(driver.error().message.find(part), std::string::npos) << driver.error().message;
  EXPECT_EQ(describeCuda().text, driver.error().message);
  EXPECT_FALSE(describeCuda().found);
}

TEST(Driver, IsLookedForByItsName) {
  FakeCuda fake("", "");
  EXPECT_EQ(driverLibrary(), "libcuda.so.1");
}

TEST(Driver, ALibraryThatIsNoDriver) {
  FakeCuda fake("", "libm.so.6");
  Result<std::shared_ptr<const Driver>> driver = Driver::open();
  ASSERT_FALSE(driver);
  EXPECT_NE(driver.error().message.find("'libm.so.6' has no 'cuGetErrorName'"), std::string::npos)
      << driver.error().message;
}

TEST(Driver, RefusesAndTheReasonIsNamed) {
  FakeCuda fake("init=100");
  Result<std::shared_ptr<const Driver>> driver = Driver::open();
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, Exit::Failed);
  EXPECT_NE(driver.error().message.find("CUDA_ERROR_100 (the fake driver was told to)"),
            std::string::npos)
      << driver.error().message;
}

TEST(Context, NeedsADevice) {
  {
    FakeCuda fake("count=0");
    auto context = Context::open();
    ASSERT_FALSE(context);
    EXPECT_NE(context.error().message.find("shows none"), std::string::npos);
    EXPECT_EQ(context.error().code, Exit::Failed);
    EXPECT_FALSE(describeCuda().found);
  }
  FakeCuda fake("retain=999");
  auto context = Context::open();
  ASSERT_FALSE(context);
  EXPECT_NE(context.error().message.find("opening the first GPU: CUDA_ERROR_999"),
            std::string::npos);
}

TEST(Context, Facts) {
  FakeCuda fake("capability=120,memory=25769803776,shared=101376,driver=13010");
  auto context = Context::open();
  ASSERT_TRUE(context) << context.error().message;
  const DeviceFacts &device = (*context)->device();
  EXPECT_EQ(device.shown(), "Fake GPU (sm_120)");
  EXPECT_EQ(device.memory, uint64_t(24) << 30);
  EXPECT_EQ(device.sharedPerBlock, 101376);
  EXPECT_EQ((*context)->driver().version(), "13.1");
  EXPECT_EQ(describeCuda().text, std::string(FAKE_CUDA) +
                                     ", CUDA 13.1; Fake GPU (sm_120), 24.0 GiB, 108 "
                                     "multiprocessors, 99 KiB of shared memory a block");
}

TEST(Memory, ComesAndGoes) {
  FakeCuda fake("memory=1000000");
  auto context = Context::open();
  ASSERT_TRUE(context);
  {
    auto memory = DeviceMemory::allocate(*context, 900000, "the arena");
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_EQ(memory->at(0) % 256, 0u);
    EXPECT_EQ(*(*context)->freeMemory(), 100000u);
    auto more = DeviceMemory::allocate(*context, 200000, "the frozen weights");
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, Exit::DoesNotFit);
    EXPECT_NE(more.error().message.find("200000 bytes of the GPU for the frozen weights"),
              std::string::npos);
    DeviceMemory moved = std::move(*memory);
    EXPECT_EQ(moved.bytes(), 900000u);
  }
  EXPECT_EQ(*(*context)->freeMemory(), 1000000u);
}

TEST(Stream, CopiesAndTellsFailures) {
  FakeCuda fake;
  auto context = Context::open();
  ASSERT_TRUE(context);
  auto stream = Stream::create(*context);
  auto memory = DeviceMemory::allocate(*context, 64, "a test");
  auto pinned = PinnedMemory::allocate(*context, 64);
  ASSERT_TRUE(stream && memory && pinned);
  EXPECT_EQ(pinned->at<int>(0)[15], 0) << "zeroed";
  std::array<int, 4> in = {1, 2, 3, 4}, out = {};
  EXPECT_TRUE(stream->upload(memory->at(0), in.data(), sizeof in));
  EXPECT_TRUE(stream->copy(memory->at(32), memory->at(4), 12));
  EXPECT_TRUE(stream->zero(memory->at(4), 4));
  EXPECT_TRUE(stream->download(out.data(), memory->at(32), 12));
  EXPECT_TRUE(stream->wait());
  EXPECT_EQ(out, (std::array<int, 4>{2, 3, 4, 0}));
  auto begin = Event::create(*context, true), end = Event::create(*context, true);
  ASSERT_TRUE(begin && end);
  EXPECT_TRUE(stream->mark(*begin));
  EXPECT_NEAR(*end->secondsSince(*begin), 1.5e-3, 1e-9);
  FakeCuda fails("pin=2");
  EXPECT_EQ(PinnedMemory::allocate(*context, 64).error().code, Exit::DoesNotFit);
}

} // namespace
} // namespace lorac::gpu
