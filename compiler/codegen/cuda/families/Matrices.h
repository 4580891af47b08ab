#pragma once
// Where a parameter lies as a matrix: a row of the table of LoracMatrix (runtime/abi.h).

#include "compiler/codegen/cuda/Families.h"

#include <string>

namespace lorac::cuda {

struct Matrix {
  Int index, offset, rows, columns, row, column;
};
/// What is not used is not printed either.
Matrix matrixOf(DeviceBuilder &d, mlir::Value table, Int parameter);

/// Where an element of a parameter finds its number of a storage.
Int placeInMatrix(lora::Storage storage, const Matrix &of, Int at, Int row, Int column);

} // namespace lorac::cuda
