#include "FakeProgram.h"

#include "runtime/train/Payload.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <sys/stat.h>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

class PayloadTest : public testing::Test {
protected:
  void SetUp() override {
    folder =
        fs::path(testing::TempDir()) /
        ("payload." + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::create_directories(folder);
    exe = (folder / "runtime").string();
    out = (folder / "train").string();
    write(exe, "#!/bin/sh\nexit 0\n");
  }
  void TearDown() override { fs::remove_all(folder); }
  static void write(const std::string &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  fs::path folder;
  std::string exe, out;
  std::vector<PayloadFile> files = {
      {"module.so", std::string("\0\1\2\3ELF", 7)}, {"plan.json", "{}"}, {"empty", ""}};
};

TEST_F(PayloadTest, RoundTrip) {
  Result<void> written = writeTrainBinary(exe, files, out);
  ASSERT_TRUE(written) << written.error().message;
  Result<Payload> payload = Payload::read(out);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(payload->names(), (std::vector<std::string>{"empty", "module.so", "plan.json"}));
  for (const PayloadFile &file : files)
    EXPECT_EQ(payload->file(file.name), file.bytes);
  struct stat info;
  ASSERT_EQ(stat(out.c_str(), &info), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(info.st_mode & 0777, 0777u & ~mask);
  EXPECT_EQ(fileBytes(out).substr(0, 17), fileBytes(exe));
}

TEST_F(PayloadTest, ReplacesAnOldPayload) {
  ASSERT_TRUE(writeTrainBinary(exe, files, out));
  std::string again = (folder / "again").string();
  ASSERT_TRUE(writeTrainBinary(out, files, again));
  EXPECT_EQ(fileBytes(out), fileBytes(again));
}

TEST_F(PayloadTest, EveryFlippedByteIsFound) {
  ASSERT_TRUE(writeTrainBinary(exe, files, out));
  std::string good = fileBytes(out);
  size_t begin = fileBytes(exe).size();
  for (size_t i = begin; i < good.size(); ++i)
    for (int bit : {0x01, 0x80}) {
      std::string bad = good;
      bad[i] = char(bad[i] ^ bit);
      write(out, bad);
      Result<Payload> payload = Payload::read(out);
      ASSERT_FALSE(payload) << "byte " << i;
      EXPECT_EQ(payload.error().code, Exit::ForeignFile);
    }
}

TEST_F(PayloadTest, EveryTruncationIsFound) {
  ASSERT_TRUE(writeTrainBinary(exe, files, out));
  std::string good = fileBytes(out);
  for (size_t size = 0; size < good.size(); ++size) {
    write(out, good.substr(0, size));
    ASSERT_FALSE(Payload::read(out)) << size;
  }
  write(out, good + "x");
  EXPECT_FALSE(Payload::read(out));
}

TEST_F(PayloadTest, EmptyAndFailing) {
  ASSERT_TRUE(writeTrainBinary(exe, {}, out));
  Result<Payload> payload = Payload::read(out);
  ASSERT_TRUE(payload);
  EXPECT_TRUE(payload->names().empty());
  EXPECT_FALSE(writeTrainBinary((folder / "absent").string(), files, out));
  EXPECT_FALSE(writeTrainBinary(exe, files, (folder / "no" / "train").string()));
}

} // namespace
} // namespace lorac::train
