#include "compiler/tools/GeneratedFolder.h"

#include "gtest/gtest.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace lorac;
using namespace lorac::tools;

namespace {

struct GeneratedFolderTest : testing::Test {
  fs::path root = fs::temp_directory_path() / ("lorac-generated-" + std::to_string(getpid()));
  fs::path folder = root / "generated" / "tiny";
  GeneratedFolderTest() { fs::create_directories(root); }
  ~GeneratedFolderTest() override { fs::remove_all(root); }

  static std::string read(const fs::path &path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static Result<void> nothingMore(const std::string &) { return {}; }
  /// Names below generated/: what is half-written would show.
  size_t siblings() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder.parent_path()), fs::directory_iterator()));
  }
};

TEST_F(GeneratedFolderTest, WritesFilesAndFolders) {
  ASSERT_TRUE(
      writeGenerated(folder, {{"10-model.mlir", "a"}, {"kernels/k.mlir", "b"}}, nothingMore));
  EXPECT_EQ(read(folder / "10-model.mlir"), "a");
  EXPECT_EQ(read(folder / "kernels" / "k.mlir"), "b");
  EXPECT_EQ(siblings(), 1u);
}

TEST_F(GeneratedFolderTest, ReplacesAllThatWasThere) {
  ASSERT_TRUE(
      writeGenerated(folder, {{"10-model.mlir", "a"}, {"kernels/old.mlir", "b"}}, nothingMore));
  ASSERT_TRUE(writeGenerated(folder.string() + "/", {{"plan.md", "c"}}, nothingMore));
  EXPECT_EQ(read(folder / "plan.md"), "c");
  EXPECT_FALSE(fs::exists(folder / "10-model.mlir"));
  EXPECT_FALSE(fs::exists(folder / "kernels"));
  EXPECT_EQ(siblings(), 1u);
}

TEST_F(GeneratedFolderTest, LeavesOtherPeoplesFoldersAlone) {
  fs::create_directories(folder);
  std::ofstream(folder / "thesis.tex") << "years";
  Result<void> written = writeGenerated(folder, {{"plan.md", "c"}}, nothingMore);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("'thesis.tex', which lorac did not write"),
            std::string::npos);
  EXPECT_EQ(read(folder / "thesis.tex"), "years");
  EXPECT_FALSE(fs::exists(folder / "plan.md"));
}

TEST_F(GeneratedFolderTest, KeepsTheOldOneWhenTheNewOneFails) {
  ASSERT_TRUE(writeGenerated(folder, {{"plan.md", "old"}}, nothingMore));
  Result<void> written =
      writeGenerated(folder, {{"plan.md", "new"}},
                     [](const std::string &) -> Result<void> { return Error{"no"}; });
  ASSERT_FALSE(written);
  EXPECT_EQ(read(folder / "plan.md"), "old");
  EXPECT_EQ(siblings(), 1u);
}

TEST_F(GeneratedFolderTest, SaysWhyItCannotWrite) {
  std::ofstream(root / "generated") << "a file";
  Result<void> written = writeGenerated(folder, {{"plan.md", "c"}}, nothingMore);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Exit::Failed);
}

} // namespace
