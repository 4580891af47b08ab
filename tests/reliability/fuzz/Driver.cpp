// The harnesses without libFuzzer: so many mutations of each seed file, by a seed; any compiler
// builds it.
//
//   ReliabilityFuzz HARNESS SEED RUNS FOLDER   mutates the files of FOLDER
//   ReliabilityFuzz HARNESS FILE               reads one input again
//   ReliabilityFuzz                            names the harnesses
//
// An input that takes over 10 s is a hang: SIGALRM ends the process. What was read last stands in
// FOLDER/../last.HARNESS.

#include "tests/reliability/fuzz/Harness.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/resource.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace lorac::fuzz;

namespace {

/// Of the whole process: an input that takes 512 MiB meets it.
constexpr rlim_t mostMemory = rlim_t(1) << 30;

std::string contentOf(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

int mutate(const Harness &harness, uint64_t seed, uint64_t runs, const fs::path &folder) {
  std::vector<fs::path> names;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder))
    names.push_back(entry.path());
  std::sort(names.begin(), names.end());
  std::vector<std::string> seeds;
  for (const fs::path &name : names)
    seeds.push_back(contentOf(name));
  if (seeds.empty()) {
    std::fprintf(stderr, "no file in '%s'\n", folder.c_str());
    return 2;
  }
  const fs::path last = folder.parent_path() / ("last." + std::string(harness.name));
  Draw draw(seed);
  for (uint64_t run = 0; run < runs; ++run) {
    std::string bytes = seeds[run % seeds.size()];
    for (uint64_t changes = 1 + draw() % 4; changes > 0; --changes)
      bytes = harness.change && draw() % 4 ? harness.change(bytes, draw) : changeBytes(bytes, draw);
    std::ofstream(last, std::ios::binary | std::ios::trunc) << bytes;
    alarm(10);
    harness.run(bytes);
    // What is small and still means something is mutated further.
    if (draw() % 16 == 0 && seeds.size() < 64 && bytes.size() < 65536)
      seeds.push_back(bytes);
  }
  std::printf("%s runs %llu\n", harness.name, static_cast<unsigned long long>(runs));
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc == 1) {
    for (const Harness &harness : harnesses())
      std::printf("%s\n", harness.name);
    return 0;
  }
  const Harness *harness = findHarness(argv[1]);
  if (!harness || (argc != 3 && argc != 5)) {
    std::fprintf(stderr, "usage: ReliabilityFuzz HARNESS SEED RUNS FOLDER | HARNESS FILE\n");
    return 2;
  }
  const rlimit limit{mostMemory, mostMemory};
  setrlimit(RLIMIT_AS, &limit);
  if (argc == 3) {
    harness->run(contentOf(argv[2]));
    return 0;
  }
  return mutate(*harness, std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10),
                argv[4]);
}
