// The compiler as a child: one that hangs is stopped when its time is over, one that is done late
// is not.

#include "runtime/abi.h"
#include "runtime/train/ranks/Recompiler.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lorac::train {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class ChildRecompilerTest : public testing::Test {
protected:
  void SetUp() override {
    folder =
        fs::path(testing::TempDir()) /
        ("child." + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder);
    fs::create_directories(folder);
    setenv("LORAC_CACHE_DIR", (folder / "cache").c_str(), 1);
    ASSERT_TRUE(writeProgram({{baseFile, "base"}, {"plan.json", "{}"}, {"spec.toml", ""}},
                             folder / "run.program"));
    payload = *Payload::read(folder / "run.program");
  }
  void TearDown() override {
    unsetenv("LORAC_CACHE_DIR");
    fs::remove_all(folder);
  }

  /// A `lorac` that answers the probe, and else runs `body`, where $6 is the program to write.
  std::unique_ptr<ProgramBuild> start(const std::string &body, std::chrono::seconds patience,
                                      uint64_t memory = 0) {
    const std::string path = folder / "lorac";
    std::ofstream(path) << "#!/bin/sh\nif [ \"$2\" = --probe ]; then echo '{\"abi\": "
                        << LORAC_ABI_VERSION << ", \"compiler\": \"fake\"}'; exit; fi\n"
                        << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
    Result<std::unique_ptr<Recompiler>> found = childRecompiler(path, payload, {patience, memory});
    EXPECT_TRUE(found) << found.error().message;
    recompiler = std::move(*found);
    return recompiler->start({{"q_proj", 2}});
  }
  static void wait(ProgramBuild &build) {
    while (!build.ended(20ms)) {
    }
  }

  fs::path folder;
  Payload payload;
  std::unique_ptr<Recompiler> recompiler;
};

TEST_F(ChildRecompilerTest, OneThatHangsIsStopped) {
  const std::string pid = folder / "pid";
  auto build = start("echo $$ >" + pid + "; exec sleep 1000", 1s);
  wait(*build);
  Result<BuiltProgram> built = build->take();
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().message, "it took longer than 1 s; lorac is not asked again by this run");
  build.reset();
  pid_t child = 0;
  std::ifstream(pid) >> child;
  EXPECT_GT(child, 0);
  EXPECT_NE(kill(child, 0), 0) << "it is still there";
  build = recompiler->start({{"q_proj", 1}});
  EXPECT_TRUE(build->ended(0ms));
  EXPECT_EQ(build->take().error().message, "lorac took too long before");
}

TEST_F(ChildRecompilerTest, OneThatWasDoneInTimeIsTakenHoweverLate) {
  auto build = start("cp '" + (folder / "run.program").string() +
                         "' \"$6\"; echo '{\"kernels_built\": 1, \"kernels_from_cache\": 2, "
                         "\"seconds\": 0.5}'",
                     1s);
  usleep(1500000); // the run had other things to do
  ASSERT_TRUE(build->ended(0ms));
  Result<BuiltProgram> built = build->take();
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(built->kernelsFromCache, 2);
}

TEST_F(ChildRecompilerTest, OneThatTakesMemoryWithoutEndGetsNone) {
  auto build = start("exec python3 -c 'bytearray(1 << 36)'", 60s, uint64_t(2) << 30);
  wait(*build);
  Result<BuiltProgram> built = build->take();
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().message, "lorac ended with code 1: MemoryError");
}

} // namespace
} // namespace lorac::train
