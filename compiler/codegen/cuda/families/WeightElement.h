#pragma once
// Single elements of a frozen weight stored by rows (docs/cuda.md, "Frozen weights by rows"), for
// kernels that read few of them.

#include "compiler/codegen/cuda/Families.h"
#include "runtime/formats/WeightFormat.h"

namespace lorac::cuda {

class WeightElement {
public:
  /// Takes the weight's parts from the kernel's arguments. `n`, `k`: the weight's shape.
  WeightElement(DeviceBuilder &d, Kernel &kernel, int64_t n, int64_t k);

  /// W[row, col] in float32. NF4 and FP4 are for linears and have no single elements.
  Num at(Int row, Int col);

  static bool serves(const formats::WeightFormat &format) { return !format.isNf4OrFp4(); }

private:
  DeviceBuilder &d;
  formats::WeightFormat format;
  int64_t np, kp;
  mlir::Value values, scales, minima;
};

} // namespace lorac::cuda
