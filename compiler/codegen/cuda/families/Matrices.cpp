#include "compiler/codegen/cuda/families/Matrices.h"
#include "runtime/abi.h"

#include <cstddef>

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

Matrix lorac::cuda::matrixOf(DeviceBuilder &d, Value table, Int parameter) {
  Int entry = d.named("matrix", parameter * int64_t(sizeof(LoracMatrix) / sizeof(int32_t)));
  auto field = [&](StringRef name, size_t offset) {
    return d.named(name, d.loadInt(table, {entry + int64_t(offset / sizeof(int32_t))}));
  };
  return {parameter,
          field("matrix_begin", offsetof(LoracMatrix, offset)),
          field("rows", offsetof(LoracMatrix, rows)),
          field("columns", offsetof(LoracMatrix, columns)),
          field("first_row", offsetof(LoracMatrix, row)),
          field("first_column", offsetof(LoracMatrix, column))};
}

Int lorac::cuda::placeInMatrix(lora::Storage storage, const Matrix &of, Int at, Int row,
                               Int column) {
  switch (storage) {
  case lora::Storage::Rows:
    return of.row + row;
  case lora::Storage::Columns:
    return of.column + column;
  case lora::Storage::Parameters:
    return of.index;
  default:
    return at;
  }
}
