#pragma once
// Single elements of a frozen weight stored by rows (docs/cuda.md, "Frozen weights by rows"), for
// kernels that read few of them.

#include "compiler/codegen/cuda/Families.h"
#include "runtime/formats/WeightFormat.h"

namespace lorac::cuda {

class WeightElement {
public:
  /// Takes the weight's parts from the kernel's arguments. `n`, `k`: the weight's shape. All
  /// threads of the block make one: the codes of NF4 and FP4 come into shared memory behind a
  /// barrier.
  WeightElement(DeviceBuilder &d, Kernel &kernel, int64_t n, int64_t k);

  /// W[row, col] in float32, of a row that W has.
  Num at(Int row, Int col);

private:
  void tabulateCodes();
  Num flatBlockScale(Int row, Int col);

  DeviceBuilder &d;
  formats::WeightFormat format;
  int64_t columns, np, kp;
  mlir::Value values, scales, minima, nested, table;
};

} // namespace lorac::cuda
