#pragma once
// The fake driver in the place of libcuda for the length of a test.

#include <cstdlib>
#include <string>

namespace lorac::gpu {

class FakeCuda {
public:
  explicit FakeCuda(const std::string &failures = "", const std::string &library = FAKE_CUDA) {
    setenv("LORAC_LIBCUDA", library.c_str(), 1);
    setenv("LORAC_FAKE_CUDA", failures.c_str(), 1);
  }
  ~FakeCuda() {
    unsetenv("LORAC_LIBCUDA");
    unsetenv("LORAC_FAKE_CUDA");
  }
  FakeCuda(const FakeCuda &) = delete;
};

} // namespace lorac::gpu
