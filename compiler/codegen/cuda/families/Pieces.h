#pragma once
// Eight neighbouring numbers of a row at a time. Rows begin at multiples of 16 bytes
// (docs/cuda.md), so eight are one or two instructions; where a row's length is no multiple of
// eight they go one by one, and nothing behind the last is touched.

#include "compiler/codegen/cuda/DeviceBuilder.h"

namespace lorac::cuda {

class Pieces {
public:
  static constexpr int64_t size = 8;

  /// Of rows of `columns` numbers; not `aligned`: rows may begin at any number.
  Pieces(DeviceBuilder &d, int64_t columns, bool aligned = true)
      : d(d), columns(columns), aligned(aligned) {}

  /// Numbers `col`..`col + 7` (`col` a multiple of eight) of the row that begins at `row`, as
  /// f32[8] in registers; 0 behind the last.
  mlir::Value load(llvm::StringRef name, mlir::Value from, Int row, Int col);
  /// The same as four registers of pairs: 16-bit numbers as they are, others rounded.
  mlir::Value loadPairs(llvm::StringRef name, mlir::Value from, Int row, Int col);
  /// f32[8] to where it belongs, narrowed to the memory's element.
  void store(mlir::Value numbers, mlir::Value to, Int row, Int col);

private:
  void packPairs(mlir::Value numbers, mlir::Value pairs);
  bool ragged() const { return !aligned || columns % size != 0; }
  DeviceBuilder &d;
  int64_t columns;
  bool aligned;
};

} // namespace lorac::cuda
