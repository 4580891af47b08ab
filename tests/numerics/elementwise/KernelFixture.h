// One kernel of the CPU target, from a `lora.kernel` to a loaded function.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_KERNELFIXTURE_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_KERNELFIXTURE_H

#include "compiler/codegen/cpu/Families.h"
#include "runtime/abi.h"
#include "tests/numerics/elementwise/Padded.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <gtest/gtest.h>
#include <memory>
#include <string>

namespace lorac::testing {

/// A compiled kernel; copies share the loaded module.
class Kernel {
public:
  /// `params` as the attribute dictionary prints, without braces; `body` is a map's region.
  static Kernel compile(const std::string &cpu, const std::string &family,
                        const std::string &params, const std::string &body = "");

  /// All tiles at once, as a single worker runs them.
  void run(const std::vector<void *> &buffers, int64_t rows, const LoracStep &step = {}) const;
  /// Uneven ranges of tiles, last ones first, each with scratch full of NaN.
  void runInPieces(const std::vector<void *> &buffers, int64_t rows,
                   const LoracStep &step = {}) const;

  int64_t tiles(int64_t rows, int64_t segments) const;
  const cpu::KernelShape &shape() const { return size; }
  LoracKernel function() const { return entry; }

private:
  void runRange(const std::vector<void *> &buffers, int64_t rows, const LoracStep &step,
                int64_t begin, int64_t end) const;

  cpu::KernelShape size{};
  LoracKernel entry = nullptr;
  std::shared_ptr<void> module;
};

/// Tests that run once for each target; the parameter is LLVM's name of a CPU.
class KernelTest : public ::testing::TestWithParam<const char *> {
protected:
  void SetUp() override;
  Kernel compile(const std::string &family, const std::string &params,
                 const std::string &body = "") {
    return Kernel::compile(GetParam(), family, params, body);
  }
};

#define LORAC_ON_EACH_CPU(suite)                                                                   \
  INSTANTIATE_TEST_SUITE_P(                                                                        \
      Cpu, suite, ::testing::Values("x86-64-v3", "x86-64"),                                        \
      [](const auto &info) { return std::string(info.param) == "x86-64" ? "Portable" : "Avx2"; })

} // namespace lorac::testing

#endif
