#pragma once
// The one check that every hostile file gets: refused, with the right words, soon, and in little
// memory.

#include "runtime/Result.h"
#include "runtime/formats/MappedFile.h"
#include "tests/hostile/Measure.h"

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lorac::hostile {

using File = std::shared_ptr<const formats::MappedFile>;

/// A test that runs in an empty folder of its own.
class InOwnFolder : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "lorac-hostile-XXXXXX";
    folder = mkdtemp(pattern.data());
    before = std::filesystem::current_path();
    std::filesystem::current_path(folder);
  }
  void TearDown() override {
    std::filesystem::current_path(before);
    std::filesystem::remove_all(folder);
  }
  static void write(const std::string &name, std::string_view bytes) {
    std::ofstream(name, std::ios::binary) << bytes;
  }

  std::filesystem::path folder, before;
};

/// A reader of paths as one of files: the bytes are put on the disk first, under their name.
template <typename Read>
auto onDisk(Read read) {
  return [read](const File &file) {
    std::ofstream(file->path(), std::ios::binary)
        .write(reinterpret_cast<const char *>(file->bytes().data()),
               std::streamsize(file->bytes().size()));
    return read(file->path());
  };
}

/// `read` must fail with Exit::ForeignFile, naming the file, with `words` in the message.
template <typename Read>
void expectRefused(const std::string &what, const Bytes &bytes, const std::string &words,
                   Read read) {
  SCOPED_TRACE(what);
  const File file = formats::MappedFile::ofBytes("hostile.file", bytes.vector());
  const size_t before = liveBytes();
  startMeasuring();
  const std::clock_t start = std::clock();
  {
    auto result = read(file);
    EXPECT_LE((std::clock() - start) * 1000 / CLOCKS_PER_SEC, millisecondsAllowed);
    EXPECT_LE(peakBytes() - before, memoryFor(bytes.data.size()));
    ASSERT_FALSE(result) << "was read";
    EXPECT_EQ(result.error().code, Exit::ForeignFile) << result.error().message;
    EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
    EXPECT_NE(result.error().message.find("'hostile.file'"), std::string::npos)
        << result.error().message;
    EXPECT_LE(result.error().message.size(), 1200u);
    for (const char c : result.error().message)
      ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20)
          << "a control character in " << result.error().message;
  }
  EXPECT_LE(liveBytes(), before + 4096) << "leaked"; // the framework's own notes may grow
}

/// Cuts a good file at every byte: an error or a value, never a signal. `minimum`: shorter files
/// must be refused.
template <typename Read>
void cutEverywhere(const std::vector<uint8_t> &good, size_t minimum, Read read) {
  for (size_t size = 0; size < good.size(); ++size) {
    auto result =
        read(formats::MappedFile::ofBytes("cut", {good.begin(), good.begin() + long(size)}));
    if (size < minimum) {
      EXPECT_FALSE(result) << "cut at byte " << size;
    }
  }
  EXPECT_TRUE(read(formats::MappedFile::ofBytes("whole", good)));
}

/// Changes every byte of a good file to some other values: an error or a value, never a signal.
template <typename Read>
void changeEverywhere(const std::vector<uint8_t> &good, Read read) {
  for (size_t at = 0; at < good.size(); ++at)
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> bad = good;
      bad[at] = uint8_t(bad[at] ^ flip);
      (void)read(formats::MappedFile::ofBytes("changed", std::move(bad)));
    }
}

/// Fails each allocation in turn: bad_alloc, an error, or the right end without it, and nothing
/// stays behind.
template <typename Read>
void failEveryAllocation(const std::vector<uint8_t> &good, Read read) {
  const File file = formats::MappedFile::ofBytes("good", good);
  for (size_t n = 1;; ++n) {
    const size_t before = liveBytes();
    bool reached = false;
    {
      startMeasuring(n);
      try {
        auto result = read(file);
        reached = stopFailing();
        // A sort's temporary buffer may fail and the sort go on without it.
        EXPECT_TRUE(result || reached);
      } catch (const std::bad_alloc &) {
        reached = stopFailing();
      }
    }
    EXPECT_EQ(liveBytes(), before) << "after failing allocation " << n;
    if (!reached || testing::Test::HasFailure())
      break;
    ASSERT_LT(n, 100000u);
  }
}

} // namespace lorac::hostile
