#pragma once
// The fake driver in the place of libcuda for the length of a test.

#include <cstdlib>
#include <string>

namespace lorac::gpu {

class FakeCuda {
public:
  explicit FakeCuda(const std::string &failures = "", const std::string &library = FAKE_CUDA)
      : before(std::getenv("LORAC_LIBCUDA") ? std::getenv("LORAC_LIBCUDA") : "") {
    setenv("LORAC_LIBCUDA", library.c_str(), 1);
    setenv("LORAC_FAKE_CUDA", failures.c_str(), 1);
  }
  ~FakeCuda() {
    if (before.empty())
      unsetenv("LORAC_LIBCUDA");
    else
      setenv("LORAC_LIBCUDA", before.c_str(), 1);
    unsetenv("LORAC_FAKE_CUDA");
  }
  FakeCuda(const FakeCuda &) = delete;

private:
  const std::string before;
};

} // namespace lorac::gpu
