// Flips single bits of files that lorac wrote, and reads them by lorac's own readers: each flip
// must be refused.
//
//   ReliabilityFlips SEED KIND PATH COUNT [KIND PATH COUNT...]
//   KIND: checkpoint DIR, adapter DIR, payload FILE, cache DIR (an entry is made there)
//
// Prints "KIND tried T found F silent S", and before that each silent one as "silent KIND FILE BYTE
// BIT". Exit 1: there was one. The files are changed in place and put back: give it copies.

#include "compiler/codegen/KernelCache.h"
#include "runtime/formats/Adapter.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Payload.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace lorac;

namespace {

std::string contentOf(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

/// A file whose bits are flipped, from `begin`.
struct Target {
  fs::path path;
  std::string content;
  uint64_t begin = 0;
  uint64_t bits() const { return (content.size() - begin) * 8; }
};

void put(const Target &target, uint64_t byte, char value) {
  std::fstream file(target.path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(std::streamoff(byte));
  file.put(value);
  file.flush();
  if (!file) {
    std::fprintf(stderr, "cannot write '%s'\n", target.path.c_str());
    std::exit(2);
  }
}

/// What is flipped, and whether a reader takes it as it is.
struct Subject {
  std::vector<Target> targets;
  std::function<bool()> isRead;
};

Subject folderOf(const std::string &folder, std::function<bool()> isRead) {
  Subject subject{{}, std::move(isRead)};
  for (const char *name : {"adapter_config.json", "adapter_model.safetensors",
                           "optimizer.safetensors", "trainer_state.json"})
    if (fs::path path = fs::path(folder) / name; fs::exists(path))
      subject.targets.push_back({path, contentOf(path)});
  return subject;
}

Subject payloadOf(const std::string &path) {
  Subject subject{{{path, contentOf(path)}}, [path] { return bool(train::Payload::read(path)); }};
  // Of the executable before it nothing is hashed; its length stands in the footer.
  Target &target = subject.targets.front();
  for (int i = 0; i < 8 && target.content.size() >= 64; ++i)
    target.begin |= uint64_t(uint8_t(target.content[target.content.size() - 64 + 24 + size_t(i)]))
                    << (8 * i);
  return subject;
}

/// An entry as large as a kernel's. The cache removes one that is not whole: it is written anew
/// each time.
Subject cacheOf(const std::string &folder) {
  const CacheKey key{"source", "options", "x86-64", "reliability"};
  std::mt19937 bytes(1);
  StoredKernel kernel;
  for (int i = 0; i < 3000; ++i)
    kernel.binary.push_back(char(bytes()));
  kernel.resources = "no spills";
  KernelCache(folder).keep(key, kernel);
  const fs::path path = fs::path(folder) / (key.hash() + ".kernel");
  return {{{path, contentOf(path)}},
          [folder, key] { return KernelCache(folder).find(key).has_value(); }};
}

Subject subjectOf(const std::string &kind, const std::string &path) {
  if (kind == "checkpoint")
    return folderOf(path, [path] { return bool(train::readCheckpointRanks(path)); });
  if (kind == "adapter")
    return folderOf(path, [path] { return bool(formats::readAdapter(path)); });
  if (kind == "payload")
    return payloadOf(path);
  if (kind == "cache")
    return cacheOf(path);
  std::fprintf(stderr, "no kind '%s'\n", kind.c_str());
  std::exit(2);
}

/// Every bit of the small files while there are flips for half of them, and bits drawn of all.
std::vector<std::pair<size_t, uint64_t>> choose(const Subject &subject, uint64_t count,
                                                std::mt19937_64 &draw) {
  std::vector<std::pair<size_t, uint64_t>> chosen, small;
  uint64_t all = 0;
  for (size_t t = 0; t < subject.targets.size(); ++t) {
    all += subject.targets[t].bits();
    if (subject.targets[t].bits() <= 64 * 1024)
      for (uint64_t bit = 0; bit < subject.targets[t].bits(); ++bit)
        small.emplace_back(t, bit);
  }
  std::shuffle(small.begin(), small.end(), draw);
  small.resize(std::min<size_t>(small.size(), count / 2));
  chosen = small;
  while (chosen.size() < count) {
    uint64_t bit = draw() % all;
    size_t t = 0;
    while (bit >= subject.targets[t].bits())
      bit -= subject.targets[t++].bits();
    chosen.emplace_back(t, bit);
  }
  return chosen;
}

uint64_t flip(const std::string &kind, const std::string &path, uint64_t count,
              std::mt19937_64 &draw) {
  const Subject subject = subjectOf(kind, path);
  if (subject.targets.empty() || !subject.isRead()) {
    std::fprintf(stderr, "%s '%s' is not read as it is\n", kind.c_str(), path.c_str());
    std::exit(2);
  }
  uint64_t silent = 0;
  for (auto [t, bit] : choose(subject, count, draw)) {
    const Target &target = subject.targets[t];
    const uint64_t byte = target.begin + bit / 8;
    const char value = target.content[byte];
    if (kind == "cache" && !fs::exists(target.path))
      std::ofstream(target.path, std::ios::binary) << target.content;
    put(target, byte, char(uint8_t(value) ^ (1u << (bit % 8))));
    if (subject.isRead()) {
      ++silent;
      if (silent <= 5)
        std::printf("silent %s %s %llu %llu\n", kind.c_str(), target.path.filename().c_str(),
                    static_cast<unsigned long long>(byte),
                    static_cast<unsigned long long>(bit % 8));
    }
    if (fs::exists(target.path))
      put(target, byte, value);
  }
  std::printf("%s tried %llu found %llu silent %llu\n", kind.c_str(),
              static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(count - silent),
              static_cast<unsigned long long>(silent));
  return silent;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 5 || (argc - 2) % 3 != 0) {
    std::fprintf(stderr, "usage: ReliabilityFlips SEED KIND PATH COUNT...\n");
    return 2;
  }
  std::mt19937_64 draw(std::strtoull(argv[1], nullptr, 10));
  uint64_t silent = 0;
  for (int i = 2; i < argc; i += 3)
    silent += flip(argv[i], argv[i + 1], std::strtoull(argv[i + 2], nullptr, 10), draw);
  return silent ? 1 : 0;
}
