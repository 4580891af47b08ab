#include "tests/reliability/fuzz/Harness.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lorac::fuzz {

namespace fs = std::filesystem;

const std::vector<Harness> &harnesses() {
  static const std::vector<Harness> all = [] {
    std::vector<Harness> out;
    for (auto part : {formatHarnesses(), tokenizerHarnesses(), trainHarnesses(), specHarnesses()})
      out.insert(out.end(), part.begin(), part.end());
    return out;
  }();
  return all;
}

const Harness *findHarness(std::string_view name) {
  for (const Harness &harness : harnesses())
    if (harness.name == name)
      return &harness;
  return nullptr;
}

namespace {

struct Folder {
  std::string path;
  Folder() {
    std::string pattern =
        (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
        "lorac-fuzz.XXXXXX";
    if (!mkdtemp(pattern.data())) {
      std::perror("mkdtemp");
      std::exit(2);
    }
    path = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

} // namespace

std::string scratch(std::string_view name) {
  static const Folder folder;
  return folder.path + "/" + std::string(name);
}

void writeScratch(std::string_view name, std::string_view bytes) {
  const fs::path path = scratch(name);
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), std::streamsize(bytes.size()));
}

std::vector<std::string> partsOf(std::string_view bytes, size_t count) {
  std::vector<std::string> parts;
  while (parts.size() + 1 < count) {
    uint64_t length = 0;
    for (const char c : bytes.substr(0, 8))
      length = length * 10 + uint64_t(c >= '0' && c <= '9' ? c - '0' : 0);
    bytes.remove_prefix(std::min<size_t>(8, bytes.size()));
    const size_t taken = std::min<uint64_t>(length, bytes.size());
    parts.emplace_back(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
  }
  parts.emplace_back(bytes);
  return parts;
}

std::string joinParts(const std::vector<std::string> &parts) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    char length[24];
    std::snprintf(length, sizeof length, "%08zu", parts[i].size() % 100000000);
    if (i + 1 < parts.size())
      out += length;
    out += parts[i];
  }
  return out;
}

} // namespace lorac::fuzz
