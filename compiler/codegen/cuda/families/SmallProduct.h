#pragma once
// What the small products of adapters share: a long operand of activations by a factor of few
// columns. They cost the way of the long operand through memory, so nothing goes over shared memory
// but the last sum: each lane loads pieces of both operands where a fragment wants them. A sum over
// the depth may run in any order, and a tile's rows may stand for any columns, as long as both
// operands and the result agree; so fragments are dealt out such that lanes' pieces lie side by
// side.

#include "compiler/codegen/cuda/Families.h"

namespace lorac::cuda {

constexpr int64_t productWarps = 8, productThreads = productWarps * 32;

/// The shorter operand's columns in equal parts of at most `most`, each a multiple of `unit`.
inline int64_t partColumns(int64_t columns, int64_t most, int64_t unit) {
  return roundUp(ceilDiv(columns, ceilDiv(columns, most)), unit);
}

/// Column of an operand whose columns 2n and 2n + 1 of sixteen, loaded as one, are numbers n and
/// n + 8 of a fragment's sixteen.
inline Int pairedColumn(Int number) { return number / 16 * 16 + number % 8 * 2 + number / 8 % 2; }

/// What each warp has summed over its part of the depth, added over the warps in their order. Rows
/// and columns are those of the fragments. Four rows of eight columns lie side by side, as half a
/// warp stores them, and so far from the next ones that those who read them find different banks.
class BlockSum {
public:
  BlockSum(DeviceBuilder &d, int64_t rows, int64_t cols);
  /// Of this warp: [row / 16][column / 8][4] in registers.
  void put(mlir::Value fragments);
  /// Each element's number, shared out to the threads.
  void each(llvm::function_ref<void(Int)> body);
  Num at(Int row, Int col);

private:
  static constexpr int64_t down = 4 * 8 + 2; // to the next four rows
  DeviceBuilder &d;
  int64_t rows, cols, across, ofWarp; // to the next eight columns, warp
  mlir::Value sums;
};

/// Offsets of parameters in floats, all multiples of 4: 16 bytes of a factor are one load.
bool paramsAligned(Kernel &kernel);
/// Whether 16 bytes of buffer `buffer`, whose rows are multiples of 16 bytes, are one load:
/// activations, and factors (f32) where they are aligned.
bool rowsAligned(Kernel &kernel, unsigned buffer);

/// c[place] [+]= scale·sum, by the kernel's parameters.
void storeSum(Kernel &kernel, DeviceBuilder &d, mlir::Value c, Int place, Num sum);

/// [across][down][4]
mlir::Value zeroSums(DeviceBuilder &d, int64_t across, int64_t down);

/// A product's operands in registers.
struct Operands {
  mlir::Value left, right;
};

/// This warp's parts of the depth: `pieces` times `size` of it are on their way at once.
void walkDepth(DeviceBuilder &d, Int depth, int64_t size, int64_t pieces,
               llvm::function_ref<Operands(Int deep)> load,
               llvm::function_ref<void(Operands)> multiply);

} // namespace lorac::cuda
