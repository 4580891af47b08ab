#pragma once
// The driver API of the PTX simulator (tests/ptxsim), or of what $LORAC_LIBCUDA names.

#include <cstdint>
#include <string>
#include <vector>

namespace lorac::test {

class Simulator {
public:
  using Pointer = unsigned long long;

  /// The library's path; "" where this build has none.
  static std::string path();
  /// Opened once a process; failing is a test failure.
  static Simulator &get();

  Pointer allocate(size_t bytes);
  void free(Pointer memory);
  void upload(Pointer to, const void *from, size_t bytes);
  void download(void *to, Pointer from, size_t bytes);
  /// The kernel `name` of a PTX text.
  void *load(const std::string &ptx, const std::string &name, int sharedBytes);
  void launch(void *function, const int64_t (&grid)[3], int threads, int sharedBytes,
              std::vector<void *> &arguments);
  /// Waits; what the simulator reports is a test failure.
  void finish();

private:
  Simulator();
  template <typename F>
  F *find(const char *name);
  void check(int result, const std::string &what);
  void *library = nullptr;
};

} // namespace lorac::test
