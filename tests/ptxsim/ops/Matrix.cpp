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

// m16n8: lane l holds row l/4 and l/4+8, columns 2*(l%4) and the next.
// A: registers are (row, k), (row+8, k), (row, k+8), (row+8, k+8). B: (k, n), (k+8, n) with n =
// l/4, k = 2*(l%4).
template <float (*from)(uint16_t), int k>
void multiply(Warp &warp, const Inst &inst, Mask mask) {
  if (!wholeWarp(warp, inst, mask))
    return;
  constexpr int halves = k / 8; // of 8 columns of A
  constexpr int firstA = 4, firstB = firstA + 2 * halves, firstC = firstB + halves;
  TensorTile tile;
  tile.k = k;
  for (int half = 0; half < halves; ++half) {
    const uint32_t *upper = warp.row<uint32_t>(inst, firstA + 2 * half);
    const uint32_t *lower = warp.row<uint32_t>(inst, firstA + 2 * half + 1);
    const uint32_t *b = warp.row<uint32_t>(inst, firstB + half);
    for (int lane = 0; lane < lanes; ++lane) {
      int row = lane / 4, column = half * 8 + lane % 4 * 2;
      tile.a[row][column] = from(static_cast<uint16_t>(upper[lane]));
      tile.a[row][column + 1] = from(static_cast<uint16_t>(upper[lane] >> 16));
      tile.a[row + 8][column] = from(static_cast<uint16_t>(lower[lane]));
      tile.a[row + 8][column + 1] = from(static_cast<uint16_t>(lower[lane] >> 16));
      tile.b[column][row] = from(static_cast<uint16_t>(b[lane]));
      tile.b[column + 1][row] = from(static_cast<uint16_t>(b[lane] >> 16));
    }
  }
  for (int reg = 0; reg < 4; ++reg) {
    const float *c = warp.row<float>(inst, firstC + reg);
    for (int lane = 0; lane < lanes; ++lane)
      tile.c[lane / 4 + reg / 2 * 8][lane % 4 * 2 + reg % 2] = c[lane];
  }
  multiplyTile(tile, config().mma);
  for (int reg = 0; reg < 4; ++reg) {
    float *d = warp.row<float>(inst, reg);
    for (int lane = 0; lane < lanes; ++lane)
      d[lane] = tile.c[lane / 4 + reg / 2 * 8][lane % 4 * 2 + reg % 2];
  }
  if (warp.block->counting) {
    ++warp.block->counters.all.mma;
    warp.block->counters.mainLoop.mma += inst.inMainLoop;
  }
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
