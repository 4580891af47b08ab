#include "compiler/codegen/cpu/families/Matrices.h"
#include "runtime/abi.h"

#include <cstddef>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

Matrices::Matrices(KernelBuilder &k, Value table, Value parameter) {
  auto field = [&](size_t bytes) {
    return k.toIndex(k.load(table, {parameter, k.index(int64_t(bytes / sizeof(int32_t)))}));
  };
  offset = field(offsetof(LoracMatrix, offset));
  rows = field(offsetof(LoracMatrix, rows)), columns = field(offsetof(LoracMatrix, columns));
  row = field(offsetof(LoracMatrix, row)), column = field(offsetof(LoracMatrix, column));
}

MemRefType Matrices::type(Type i32) {
  return KernelBuilder::dense({manyRows, sizeof(LoracMatrix) / sizeof(int32_t)}, i32);
}

EachPlace lorac::cpu::placeInMatrix(KernelBuilder &k, lora::Storage storage, Value memory,
                                    const Matrices &of, Value parameter, Value at, Value row,
                                    Value column) {
  switch (storage) {
  case lora::Storage::Rows:
    return {memory, k.add(of.row, row), true};
  case lora::Storage::Columns:
    return {memory, k.add(of.column, column)};
  case lora::Storage::Parameters:
    return {memory, parameter, true};
  default:
    assert(storage == lora::Storage::Floats && "a span says one place of its own");
    return {memory, at};
  }
}

Value lorac::cpu::loadPlace(KernelBuilder &k, const EachPlace &place, Value i, Value mask) {
  if (place.isOne)
    return k.broadcast(k.load(place.memory, place.from));
  Value at = k.add(place.from, i);
  return mask ? k.vloadMasked(place.memory, at, mask) : k.vload(place.memory, at);
}
