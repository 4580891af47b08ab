// Tensor-core instructions: mma.sync, ldmatrix, movmatrix. Layouts are those of the PTX ISA,
// "Matrix fragments".
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/ops/HalfNumbers.h"
#include "tests/ptxsim/ops/MemoryModifiers.h"
#include "tests/ptxsim/ops/TensorCore.h"

namespace ptxsim {

bool wholeWarp(Warp &warp, const Inst &inst, Mask mask) {
  if (mask == warp.threads && mask == allLanes)
    return true;
  report(ReportKind::DivergentSync, warp, inst, -1,
         [&] { return "executed by the lanes " + hex(mask) + " alone"; });
  return false;
}

namespace {

// 32 registers with two numbers each hold an 8x8 matrix row by row: lane l has row l/4, columns
// 2*(l%4) and the next.
template <float (*from)(uint16_t)>
void unpack(const uint32_t *registers, float *to) {
  uint16_t numbers[2 * lanes];
  std::memcpy(numbers, registers, sizeof numbers);
  for (int k = 0; k < 2 * lanes; ++k)
    to[k] = from(numbers[k]);
}

// m16n8: A's registers are the 8x8 matrices (upper, k < 8), (lower, k < 8), (upper, k >= 8),
// (lower, k >= 8); those of B hold it column by column; C's four are two 8x8 matrices, each of even
// and of odd columns.
template <float (*from)(uint16_t), int k>
void multiply(Warp &warp, const Inst &inst, Mask mask) {
  if (!wholeWarp(warp, inst, mask))
    return;
  constexpr int halves = k / 8;
  constexpr int firstA = 4, firstB = firstA + 2 * halves, firstC = firstB + halves;
  TensorTile tile;
  tile.k = k;
  for (int half = 0; half < halves; ++half) {
    unpack<from>(warp.row<uint32_t>(inst, firstA + 2 * half), tile.a[half][0]);
    unpack<from>(warp.row<uint32_t>(inst, firstA + 2 * half + 1), tile.a[half][8]);
    alignas(32) float columns[8][8];
    unpack<from>(warp.row<uint32_t>(inst, firstB + half), columns[0]);
    for (int row = 0; row < 8; ++row)
      for (int column = 0; column < 8; ++column)
        tile.b[half * 8 + row][column] = columns[column][row];
  }
  for (int part = 0; part < 2; ++part) {
    const float *even = warp.row<float>(inst, firstC + 2 * part);
    const float *odd = warp.row<float>(inst, firstC + 2 * part + 1);
    float *c = tile.c[8 * part];
    for (int lane = 0; lane < lanes; ++lane) {
      c[2 * lane] = even[lane];
      c[2 * lane + 1] = odd[lane];
    }
  }
  multiplyTile(tile, config().mma);
  for (int part = 0; part < 2; ++part) {
    float *even = warp.row<float>(inst, 2 * part), *odd = warp.row<float>(inst, 2 * part + 1);
    const float *c = tile.c[8 * part];
    for (int lane = 0; lane < lanes; ++lane) {
      even[lane] = c[2 * lane];
      odd[lane] = c[2 * lane + 1];
    }
  }
  countMma(warp, inst);
}

void vectorOperand(Decoder &decoder, Inst &inst, size_t from, size_t count, Type type,
                   bool written) {
  const Operand &operand = decoder.statement().operands[from];
  size_t size = operand.kind == Operand::Vector ? operand.parts.size() : 1;
  if (size != count)
    decoder.fail("operand " + std::to_string(from) + " must have " + std::to_string(count) +
                 " registers");
  for (size_t k = 0; k < count; ++k) {
    const Operand &part = operand.kind == Operand::Vector ? operand.parts[k] : operand;
    if (written)
      decoder.destination(inst, part, type);
    else
      decoder.source(inst, part, type);
  }
}

void decodeMma(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (!modifiers.take("sync") || !modifiers.take("aligned"))
    modifiers.fail();
  int shape = modifiers.takeOne({"m16n8k8", "m16n8k16"});
  if (shape < 0 || !modifiers.take("row") || !modifiers.take("col"))
    modifiers.fail();
  Type d = modifiers.type(), a = modifiers.type(), b = modifiers.type(), c = modifiers.type();
  if (d != Type::F32 || c != Type::F32 || a != b || (a != Type::BF16 && a != Type::F16))
    modifiers.fail();
  bool bf16 = a == Type::BF16;
  inst.run = shape == 0 ? (bf16 ? multiply<fromBf16, 8> : multiply<fromF16, 8>)
                        : (bf16 ? multiply<fromBf16, 16> : multiply<fromF16, 16>);
  size_t halves = shape == 0 ? 1 : 2;
  decoder.expectOperands(4);
  vectorOperand(decoder, inst, 0, 4, Type::F32, true);
  vectorOperand(decoder, inst, 1, 2 * halves, Type::B32, false);
  vectorOperand(decoder, inst, 2, halves, Type::B32, false);
  vectorOperand(decoder, inst, 3, 4, Type::F32, false);
}

// ldmatrix: lanes 8i..8i+7 give the rows of matrix i; lane l gets of each matrix row l/4, columns
// 2*(l%4) and the next, or transposed: column l/4 of rows 2*(l%4) and the next.
void loadMatrix(Warp &warp, const Inst &inst, Mask mask) {
  if (!wholeWarp(warp, inst, mask))
    return;
  int count = inst.count;
  Access rows;
  rows.mask = count == 4 ? allLanes : (1u << 8 * count) - 1;
  rows.bytes = 16;
  fillAddresses(warp, inst, count, inst.offset, rows);
  checkAccess(warp, inst, rows, AccessKind::Read);
  for (int matrix = 0; matrix < count; ++matrix) {
    uint32_t *to = warp.row<uint32_t>(inst, matrix);
    uint8_t *const *row = rows.host + 8 * matrix;
    Row<uint32_t> result;
    for (int lane = 0; lane < lanes; ++lane) {
      int column = lane % 4 * 2;
      if (!inst.mode) {
        std::memcpy(&result[lane], row[lane / 4] + 2 * column, 4);
        continue;
      }
      uint16_t low, high;
      std::memcpy(&low, row[column] + 2 * (lane / 4), 2);
      std::memcpy(&high, row[column + 1] + 2 * (lane / 4), 2);
      result[lane] = static_cast<uint32_t>(high) << 16 | low;
    }
    std::memcpy(to, result.value, sizeof result.value);
  }
  countLoadMatrix(warp, inst, rows);
}

void decodeLoadMatrix(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (!modifiers.take("sync") || !modifiers.take("aligned") || !modifiers.take("m8n8"))
    modifiers.fail();
  int count = modifiers.takeOne({"x1", "x2", "x4"});
  inst.mode = modifiers.take("trans");
  inst.space = modifiers.take("shared") ? Space::Shared : Space::Generic;
  if (count < 0 || modifiers.type() != Type::B16)
    modifiers.fail();
  inst.count = static_cast<uint8_t>(1 << count);
  inst.run = loadMatrix;
  decoder.expectOperands(2);
  vectorOperand(decoder, inst, 0, inst.count, Type::B32, true);
  inst.offset = decoder.address(inst, 1, inst.space);
}

// movmatrix: the transpose of an 8x8 matrix that lies in the registers as ldmatrix lays it.
void moveMatrix(Warp &warp, const Inst &inst, Mask mask) {
  if (!wholeWarp(warp, inst, mask))
    return;
  const uint32_t *from = warp.row<uint32_t>(inst, 1);
  auto element = [&](int row, int column) {
    return from[row * 4 + column / 2] >> column % 2 * 16 & 0xffff;
  };
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    int row = lane / 4, column = lane % 4 * 2;
    result[lane] = element(column, row) | element(column + 1, row) << 16;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodeMoveMatrix(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (!modifiers.take("sync") || !modifiers.take("aligned") || !modifiers.take("m8n8") ||
      !modifiers.take("trans") || modifiers.type() != Type::B16)
    modifiers.fail();
  inst.run = moveMatrix;
  decoder.simple(inst, Type::B32, 2);
}

} // namespace

void addMatrixOps(OpcodeTable &table) {
  table["mma"] = decodeMma;
  table["ldmatrix"] = decodeLoadMatrix;
  table["movmatrix"] = decodeMoveMatrix;
}

} // namespace ptxsim
