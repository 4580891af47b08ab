#pragma once
// What the kernels of AdaLoRA's triplets share: a column of blocks takes a module, by its entry in
// the table (LoracTriplets of runtime/abi.h). Ranks are read there, so one kernel serves them all.

#include "compiler/codegen/cuda/Families.h"

namespace lorac::cuda {

constexpr int64_t tripletThreads = 512;

/// A module's entry.
struct Triplets {
  Int a, b, e, rank, in, out, unfolded, first;
};
Triplets tripletsOfBlock(DeviceBuilder &d, mlir::Value table);

/// For each column of a matrix: the sum over its rows of a term of row and column, which is
/// float64; `use` gets the column and its sum in one thread. In a fixed order: neighbouring threads
/// take neighbouring columns, each every n-th row, then their sums are added in order (n =
/// tripletThreads / columns), so that a sum has rows / n + n terms.
void sumColumns(DeviceBuilder &d, Int rows, Int columns,
                llvm::function_ref<Num(Int row, Int column)> term,
                llvm::function_ref<void(Int column, Num sum)> use);
/// Of the module's B; the term is made of the place in the region and the column.
void sumColumns(DeviceBuilder &d, const Triplets &of,
                llvm::function_ref<Num(Int at, Int column)> term,
                llvm::function_ref<void(Int column, Num sum)> use);

/// One block a module.
inline Grid gridOfModules(mlir::DictionaryAttr, const CudaTarget &, int64_t modules) {
  return {modules, 1, 1};
}

} // namespace lorac::cuda
