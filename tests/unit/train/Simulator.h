#pragma once
// What a GPU's program runs on in tests: the library that LORAC_LIBCUDA names, else the build's PTX
// simulator; without either such tests are skipped.

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace lorac::train {

/// "" where there is none.
inline std::string simulatorLibrary() {
  if (const char *named = std::getenv("LORAC_LIBCUDA"))
    return named;
#ifdef PTXSIM_LIBRARY
  return PTXSIM_LIBRARY;
#else
  return "";
#endif
}

/// In the place of libcuda for the length of a test.
class Simulator {
public:
  Simulator() : before(std::getenv("LORAC_LIBCUDA") ? std::getenv("LORAC_LIBCUDA") : "") {
    setenv("LORAC_LIBCUDA", simulatorLibrary().c_str(), 1);
  }
  ~Simulator() {
    if (before.empty())
      unsetenv("LORAC_LIBCUDA");
  }
  Simulator(const Simulator &) = delete;

private:
  const std::string before;
};

#define LORAC_NEEDS_SIMULATOR()                                                                    \
  if (simulatorLibrary().empty())                                                                  \
    GTEST_SKIP() << "this build has no PTX simulator";                                             \
  Simulator simulator

} // namespace lorac::train
