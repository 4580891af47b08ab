#pragma once
// The CPU that kernels are generated for.

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace lorac::cpu {

/// What kernel builders need to know about the machine, and what the runtime checks before it runs
/// their code.
struct CpuTarget {
  /// LLVM's name of the CPU: "znver4", "x86-64-v3"; instructions are scheduled for it.
  std::string cpu;
  std::string features; ///< LLVM's form: "+avx2,+fma"; nothing outside this list is emitted
  bool avx2 = false, fma = false, f16c = false;
  bool avx512 = false; ///< F, VL, BW and DQ: 32 vector registers and two-table permutes
  /// f32 lanes of the vectors that kernels are written with: 8 with AVX2, else 4.
  int vectorLanes = 4;

  /// The features by name, in the plan's form; the runtime refuses to start where one is missing.
  std::vector<std::string> featureNames() const;

  /// `name` is "native" or one of LLVM's x86 CPU names ("x86-64", "x86-64-v3", "znver4", ...).
  static llvm::Expected<CpuTarget> get(llvm::StringRef name);
};

} // namespace lorac::cpu
