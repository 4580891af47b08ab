// Kernels that were kept are found whole or not at all: damage, other writers, folders that cannot
// be written to.
#include "compiler/codegen/KernelCache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace lorac {
namespace {

namespace fs = std::filesystem;

class KernelCacheTest : public testing::Test {
protected:
  void SetUp() override {
    root =
        fs::path(testing::TempDir()) /
        ("kernels." + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(root);
    folder = (root / "lorac/kernels").string();
  }
  void TearDown() override { fs::remove_all(root); }

  static CacheKey keyOf(int i) {
    return {"__global__ void k" + std::to_string(i) + "() {}", "--minimal", "sm_80", "NVRTC 13.0"};
  }
  /// Differs in every byte from one key to the next, and in length.
  static StoredKernel kernelOf(int i) {
    std::string binary;
    for (int at = 0; at < 2000 + 37 * i; ++at)
      binary += char(at * (i + 3) + i);
    return {binary, "registers " + std::to_string(i)};
  }
  std::string entry(int i) const { return folder + "/" + keyOf(i).hash() + ".kernel"; }
  static std::string bytesOf(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write(const std::string &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  static bool same(const std::optional<StoredKernel> &found, int i) {
    return found && found->binary == kernelOf(i).binary &&
           found->resources == kernelOf(i).resources;
  }

  fs::path root;
  std::string folder;
};

TEST_F(KernelCacheTest, FindsWhatItKept) {
  KernelCache cache(folder);
  EXPECT_FALSE(cache.find(keyOf(1)));
  EXPECT_FALSE(fs::exists(folder)) << "made with the first entry";
  cache.keep(keyOf(1), kernelOf(1));
  EXPECT_TRUE(same(cache.find(keyOf(1)), 1));
  EXPECT_TRUE(same(KernelCache(folder).find(keyOf(1)), 1)) << "another process";
  EXPECT_FALSE(cache.find(keyOf(2)));
  cache.keep(keyOf(3), {"", ""});
  EXPECT_TRUE(cache.find(keyOf(3)));
  EXPECT_EQ(cache.found(), 2);
  EXPECT_EQ(cache.missed(), 2);
}

TEST_F(KernelCacheTest, EveryFieldIsPartOfTheKey) {
  std::set<std::string> hashes;
  CacheKey key = keyOf(1);
  hashes.insert(key.hash());
  for (std::string CacheKey::*field :
       {&CacheKey::source, &CacheKey::options, &CacheKey::architecture, &CacheKey::compiler}) {
    CacheKey other = key;
    other.*field += " ";
    hashes.insert(other.hash());
  }
  hashes.insert(CacheKey{"ab", "c", "", ""}.hash());
  hashes.insert(CacheKey{"a", "bc", "", ""}.hash());
  EXPECT_EQ(hashes.size(), 7u);
  EXPECT_EQ(key.hash().size(), 32u);
}

TEST_F(KernelCacheTest, DamageIsFoundAndMadeGood) {
  KernelCache cache(folder);
  cache.keep(keyOf(1), kernelOf(1));
  const std::string good = bytesOf(entry(1));
  for (size_t at = 0; at < good.size(); at += at < 80 ? 1 : 41)
    for (int bit : {0, 7}) {
      std::string bad = good;
      bad[at] = char(bad[at] ^ (1 << bit));
      write(entry(1), bad);
      ASSERT_FALSE(cache.find(keyOf(1))) << at;
      ASSERT_FALSE(fs::exists(entry(1))) << at;
    }
  for (size_t size = 0; size < good.size(); size += size < 80 ? 1 : 53) {
    write(entry(1), good.substr(0, size));
    ASSERT_FALSE(cache.find(keyOf(1))) << size;
  }
  write(entry(1), good + "x");
  EXPECT_FALSE(cache.find(keyOf(1)));
  cache.keep(keyOf(2), kernelOf(2));
  fs::copy_file(entry(2), entry(1), fs::copy_options::overwrite_existing);
  EXPECT_FALSE(cache.find(keyOf(1))) << "another key's entry under this name";
  fs::remove(entry(1));
  fs::create_directory(entry(1));
  EXPECT_FALSE(cache.find(keyOf(1)));
  fs::remove(entry(1));
  cache.keep(keyOf(1), kernelOf(1));
  EXPECT_TRUE(same(cache.find(keyOf(1)), 1));
  EXPECT_TRUE(same(cache.find(keyOf(2)), 2));
}

/// Processes that look for, make and keep the same kernels at once, one of which damages entries.
TEST_F(KernelCacheTest, ManyProcessesAtOnce) {
  constexpr int processes = 6, kernels = 5, rounds = 60;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = fork();
    if (child == 0) {
      bool well = true;
      KernelCache cache(folder, [&](const std::string &) { well = false; });
      for (int round = 0; round < rounds; ++round) {
        const int i = (round * (p + 1) + p) % kernels;
        if (std::optional<StoredKernel> found = cache.find(keyOf(i)))
          well = well && same(found, i);
        else
          cache.keep(keyOf(i), kernelOf(i));
        if (p == 0 && round % 3 == 0)
          if (const std::string bytes = bytesOf(entry(i)); !bytes.empty())
            write(entry(i), bytes.substr(0, bytes.size() / 2));
        if (round % 7 == p)
          cache.keep(keyOf(i), kernelOf(i));
      }
      _exit(well ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  KernelCache cache(folder);
  for (int i = 0; i < kernels; ++i) {
    if (!cache.find(keyOf(i))) // damaged last
      cache.keep(keyOf(i), kernelOf(i));
    EXPECT_TRUE(same(cache.find(keyOf(i)), i));
  }
  for (const fs::directory_entry &file : fs::directory_iterator(folder))
    EXPECT_TRUE(file.path().string().ends_with(".kernel")) << file.path();
}

TEST_F(KernelCacheTest, ManyThreadsAtOnce) {
  KernelCache cache(folder);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) {
        const int k = (i + t) % 5;
        std::optional<StoredKernel> found = cache.find(keyOf(k));
        if (found)
          wrong += !same(found, k);
        else
          cache.keep(keyOf(k), kernelOf(k));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(cache.found() + cache.missed(), 160);
}

TEST_F(KernelCacheTest, WorksWithoutAFolder) {
  fs::create_directories(root);
  write((root / "lorac").string(), "a file stands where the folder should");
  std::vector<std::string> words;
  KernelCache cache(folder, [&](const std::string &text) { words.push_back(text); });
  for (int i = 0; i < 3; ++i) {
    cache.keep(keyOf(i), kernelOf(i));
    EXPECT_FALSE(cache.find(keyOf(i)));
  }
  ASSERT_EQ(words.size(), 1u) << "said once";
  EXPECT_EQ(words[0].find("compiled kernels are not kept: cannot make '" + folder + "': "), 0u)
      << words[0];
  EXPECT_NE(words[0].find("LORAC_CACHE_DIR"), std::string::npos);

  KernelCache none("", [&](const std::string &text) { words.push_back(text); });
  none.keep(keyOf(1), kernelOf(1));
  EXPECT_FALSE(none.find(keyOf(1)));
  EXPECT_EQ(words.size(), 1u);
}

} // namespace
} // namespace lorac
