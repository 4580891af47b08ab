#include "tests/ptxsim/machine/Config.h"
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace ptxsim {
namespace {

std::string text(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

// A number, with K, M or G behind it as a power of 1024.
uint64_t number(const char *name, uint64_t otherwise) {
  std::string value = text(name);
  if (value.empty())
    return otherwise;
  char *end = nullptr;
  uint64_t result = std::strtoull(value.c_str(), &end, 0);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  if (end == value.c_str() || end[shift ? 1 : 0] != 0) {
    std::fprintf(stderr, "ptxsim: %s='%s' is not a number\n", name, value.c_str());
    std::exit(2);
  }
  return result << shift;
}

MmaMode mmaMode() {
  std::string value = text("PTXSIM_MMA");
  if (value.empty() || value == "sequential")
    return MmaMode::Sequential;
  if (value == "double")
    return MmaMode::Double;
  if (value == "truncating")
    return MmaMode::Truncating;
  std::fprintf(stderr, "ptxsim: PTXSIM_MMA='%s' is not sequential, double or truncating\n",
               value.c_str());
  std::exit(2);
}

Config fromEnvironment() {
  Config config;
  config.seed = number("PTXSIM_SEED", config.seed);
  config.threads = static_cast<unsigned>(number("PTXSIM_THREADS", config.threads));
  config.threads = config.threads ? config.threads : 1;
  config.check = number("PTXSIM_CHECK", 1) != 0;
  config.keepGoing = number("PTXSIM_KEEP_GOING", 0) != 0;
  config.mma = mmaMode();
  config.memory = number("PTXSIM_MEMORY", config.memory);
  config.capability = static_cast<int>(number("PTXSIM_CC", 80));
  config.maxSteps = number("PTXSIM_MAX_STEPS", config.maxSteps);
  config.reportFile = text("PTXSIM_REPORT");
  config.counterFile = text("PTXSIM_COUNTERS");
  config.ptxFolder = text("PTXSIM_PTX");
  return config;
}

} // namespace

Config &config() {
  static Config *config = new Config(fromEnvironment());
  return *config;
}

} // namespace ptxsim
