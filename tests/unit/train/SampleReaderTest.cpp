// A file read through a window has the samples of the file read whole.

#include "runtime/train/SampleReader.h"
#include "runtime/train/TokenList.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

namespace lorac::train {
namespace {

class SampleReaderTest : public testing::Test {
protected:
  void SetUp() override {
    path = (std::filesystem::temp_directory_path() /
            ("lorac-samples-" + std::to_string(getpid()) + ".txt"))
               .string();
  }
  void TearDown() override { std::filesystem::remove(path); }

  void write(const std::string &text) { std::ofstream(path, std::ios::binary) << text; }

  struct Sample {
    uint64_t offset;
    std::string text;
    bool operator==(const Sample &) const = default;
  };
  std::vector<Sample> read(const std::string &separator, SampleReader::Cut cut = nullptr) {
    Result<SampleReader> reader = SampleReader::open(path, separator, std::move(cut));
    EXPECT_TRUE(reader);
    std::vector<Sample> samples;
    bool open = false;
    for (;;) {
      Result<std::optional<SamplePart>> part = reader->next();
      EXPECT_TRUE(part) << part.error().message;
      if (!part || !*part)
        break;
      EXPECT_EQ((*part)->first, !open);
      if ((*part)->first)
        samples.push_back({(*part)->offset, ""});
      EXPECT_EQ((*part)->offset, samples.back().offset);
      samples.back().text += (*part)->text;
      open = !(*part)->last;
      ++parts;
    }
    EXPECT_FALSE(open);
    held = reader->mostHeld();
    return samples;
  }
  static std::vector<Sample> expected(const std::string &text, const std::string &separator) {
    std::vector<Sample> samples;
    size_t begin = 0;
    const bool isLine = separator == "\n%\n";
    while (!separator.empty()) {
      if (isLine && text.compare(begin, separator.size() - 1, separator, 1) == 0) {
        samples.push_back({begin, ""});
        begin += separator.size() - 1;
        continue;
      }
      const size_t at = text.find(separator, begin);
      if (at == std::string::npos)
        break;
      samples.push_back({begin, text.substr(begin, at - begin)});
      begin = at + separator.size();
    }
    std::string last = text.substr(begin);
    if (isLine && last == "%")
      last.clear();
    else if (isLine && last.ends_with("\n%"))
      last.resize(last.size() - 2);
    samples.push_back({begin, last});
    return samples;
  }

  std::string path;
  size_t parts = 0;
  uint64_t held = 0;
};

TEST_F(SampleReaderTest, SamplesOfAnyLength) {
  std::mt19937 draw(7);
  for (const std::string separator : {"\n%\n", "\n", "", "aab"})
    for (int round = 0; round < 8; ++round) {
      std::string text;
      const size_t size = round == 0 ? 1 : draw() % (3 * SampleReader::readBytes);
      while (text.size() < size) // separators end anywhere, those that overlap among them
        text += draw() % 50 ? std::string(draw() % 900, "ab\n %x"[draw() % 6]) : separator;
      text += round % 2 ? "e" : separator.substr(0, separator.empty() ? 0 : separator.size() - 1);
      if (text.empty())
        text = "e";
      write(text);
      EXPECT_EQ(read(separator), expected(text, separator)) << separator << " " << round;
    }
}

TEST_F(SampleReaderTest, ALongSampleComesInParts) {
  std::string text = "first\n%\n";
  for (int i = 0; text.size() < 20 * SampleReader::readBytes; ++i)
    text += "word" + std::to_string(i) + " and ";
  write(text);
  auto cut = [](std::string_view part) { return part.rfind(' '); };
  EXPECT_EQ(read("\n%\n", cut), expected(text, "\n%\n"));
  EXPECT_GT(parts, 70u);
  EXPECT_LE(held, 4 * SampleReader::readBytes);
  EXPECT_EQ(read("\n%\n", [](std::string_view) { return size_t(0); }), expected(text, "\n%\n"))
      << "whole where no place is known";
}

TEST_F(SampleReaderTest, ASeparatorThatIsALine) {
  for (const std::string text :
       {"%\na\n%\n%\nb\n%", "%\n", "%", "%\n%\n%\n", "a\n%\n", "\n%\n", "a%\n%\nb"}) {
    write(text);
    EXPECT_EQ(read("\n%\n"), expected(text, "\n%\n")) << text;
  }
}

TEST_F(SampleReaderTest, LineEndsAndLines) {
  write("a\r\n%\r\nb\rc\n%\nd");
  Result<SampleReader> reader = SampleReader::open(path, "\r\n%\r\n", nullptr);
  ASSERT_TRUE(reader);
  std::vector<std::pair<uint64_t, std::string>> seen;
  for (;;) {
    Result<std::optional<SamplePart>> part = reader->next();
    ASSERT_TRUE(part);
    if (!*part)
      break;
    seen.emplace_back((*part)->line, (*part)->text);
  }
  EXPECT_EQ(seen, (std::vector<std::pair<uint64_t, std::string>>{{1, "a"}, {3, "b\nc"}, {6, "d"}}));
}

TEST_F(SampleReaderTest, NamesThePlaceThatIsNoUtf8) {
  std::string text(2 * SampleReader::readBytes, 'a');
  text[100] = '\n';
  text += "\xff";
  write(text);
  Result<SampleReader> reader = SampleReader::open(path, "\n", nullptr);
  ASSERT_TRUE(reader);
  ASSERT_TRUE(reader->next());
  Result<std::optional<SamplePart>> bad = reader->next();
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("is not UTF-8 at line 2, column " +
                                     std::to_string(text.size() - 101)),
            std::string::npos)
      << bad.error().message;
}

TEST(TokenList, HoldsWhatAVectorHolds) {
  std::mt19937 draw(7);
  for (int64_t vocab : {int64_t(512), int64_t(65534), int64_t(65535), int64_t(151936)}) {
    TokenList list(vocab);
    std::vector<int32_t> all;
    for (int i = 0; i < 1200000; ++i)
      all.push_back(i % 7 ? int32_t(draw() % uint32_t(vocab)) : TokenList::noLabel);
    list.append(all);
    EXPECT_EQ(std::vector<int32_t>(list.begin(), list.end()), all) << vocab;
    EXPECT_LE(list.bytes(), all.size() * (vocab < 65535 ? 2 : 4) + 20000) << vocab;
    list.shrink(600000);
    list.push_back(3);
    all.resize(600000);
    all.push_back(3);
    EXPECT_EQ(std::vector<int32_t>(list.begin(), list.end()), all) << vocab;
  }
}

} // namespace
} // namespace lorac::train
