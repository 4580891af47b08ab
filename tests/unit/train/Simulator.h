#pragma once
// tests/ptxsim in the place of libcuda for the length of a test; without it such tests are skipped.

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace lorac::train {

/// The simulator's library: the build's, or $LORAC_PTXSIM; "" where there is none.
inline std::string simulatorLibrary() {
#ifdef PTXSIM
  return PTXSIM;
#else
  const char *named = std::getenv("LORAC_PTXSIM");
  return named ? named : "";
#endif
}

class Simulator {
public:
  Simulator() { setenv("LORAC_LIBCUDA", simulatorLibrary().c_str(), 1); }
  ~Simulator() { unsetenv("LORAC_LIBCUDA"); }
  Simulator(const Simulator &) = delete;
};

#define LORAC_NEEDS_SIMULATOR()                                                                    \
  if (simulatorLibrary().empty())                                                                  \
    GTEST_SKIP() << "no PTX simulator";                                                            \
  Simulator simulator

} // namespace lorac::train
