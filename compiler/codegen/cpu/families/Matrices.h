#pragma once
// Where a parameter lies as a matrix: a row of the table of LoracMatrix (runtime/abi.h).

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

struct Matrices {
  mlir::Value offset, rows, columns, row, column; ///< index values

  Matrices(KernelBuilder &k, mlir::Value table, mlir::Value parameter);
  static mlir::MemRefType type(mlir::Type i32);
};

/// Where kernels that go over elements find numbers of a storage: those of elements begin at `at`,
/// in row `row` of the parameter and its column `column`.
struct EachPlace {
  mlir::Value memory, from;
  bool isOne = false; ///< one number for all of them
};
EachPlace placeInMatrix(KernelBuilder &k, lora::Storage storage, mlir::Value memory,
                        const Matrices &of, mlir::Value parameter, mlir::Value at, mlir::Value row,
                        mlir::Value column);

/// A vector of numbers from `i` places on; all lanes where there is no mask.
mlir::Value loadPlace(KernelBuilder &k, const EachPlace &place, mlir::Value i, mlir::Value mask);

} // namespace lorac::cpu
