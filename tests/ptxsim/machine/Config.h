// What the environment asks for (README.md, "Environment").
#ifndef PTXSIM_MACHINE_CONFIG_H
#define PTXSIM_MACHINE_CONFIG_H

#include <cstdint>
#include <string>

namespace ptxsim {

enum class MmaMode { Sequential, Double, Truncating };

struct Config {
  uint64_t seed = 0;
  unsigned threads = 2;
  bool check = true;
  bool keepGoing = false;
  MmaMode mma = MmaMode::Sequential;
  uint64_t memory = uint64_t(8) << 30;
  int capability = 80;
  uint64_t maxSteps = uint64_t(1) << 31; // warp instructions of one block
  std::string reportFile, counterFile, ptxFolder;
};

/// Read from the environment when first asked for; tests may change it between launches.
Config &config();

} // namespace ptxsim

#endif
