// wgmma: products of four warps, whose operands are read from shared memory as late as the ISA
// allows, at the wait. Until then accumulators are poison and the operands must not be written.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/Report.h"
#include "tests/ptxsim/ops/HalfNumbers.h"
#include "tests/ptxsim/ops/MatrixDescriptor.h"
#include "tests/ptxsim/ops/TensorCore.h"

namespace ptxsim {

bool wholeWarp(Warp &warp, const Inst &inst, Mask mask);

namespace {

enum Operands { DescriptorA, DescriptorB, ScaleD };

const WarpgroupProduct &productOf(const Warp &warp, const Inst &inst) {
  return warp.block->launch->kernel->products[inst.mode];
}

// body(address) for each 16 bytes that the warp's part of a product reads: its 16 rows of A, all of
// B.
template <class Body>
void forPieces(const Warp &warp, const ProductIssue &issue, Body body) {
  const WarpgroupProduct &product = productOf(warp, *issue.inst);
  MatrixDescriptor a(issue.a), b(issue.b);
  auto matrix = [&](const MatrixDescriptor &from, bool transposed, uint32_t first, uint32_t count) {
    for (uint32_t outer = first; outer < first + count; outer += transposed ? 8 : 1)
      for (uint32_t k = 0; k < 16; k += transposed ? 1 : 8)
        body(from.piece(transposed, outer, k));
  };
  matrix(a, product.transposedA, warp.id % 4 * 16, 16);
  matrix(b, product.transposedB, 0, product.columns);
}

// to[8 * outer's place][k], as numbers. `count` of the outer index from `first` on.
void readMatrix(const uint8_t *shared, const MatrixDescriptor &from,
                const WarpgroupProduct &product, bool transposed, uint32_t first, uint32_t count,
                float sign, float (*to)[16]) {
  for (uint32_t outer = 0; outer < count; outer += transposed ? 8 : 1)
    for (uint32_t k = 0; k < 16; k += transposed ? 1 : 8) {
      uint16_t numbers[8];
      std::memcpy(numbers, shared + from.piece(transposed, first + outer, k), sizeof numbers);
      for (uint32_t e = 0; e < 8; ++e) {
        float value = sign * (product.bf16 ? fromBf16(numbers[e]) : fromF16(numbers[e]));
        (transposed ? to[outer + e][k] : to[outer][k + e]) = value;
      }
    }
}

float &accumulator(WarpProducts &products, const WarpgroupProduct &product, uint32_t index,
                   int lane) {
  return reinterpret_cast<float &>(products.kept[product.registers[index]][lane]);
}

// The accumulators of eight columns are those of m16n8: lane l has rows l/4 and l/4 + 8, columns
// 2*(l%4) and the next.
void execute(Warp &warp, const ProductIssue &issue) {
  const WarpgroupProduct &product = productOf(warp, *issue.inst);
  const uint8_t *shared = warp.block->shared.data();
  float a[16][16], b[8][16];
  TensorTile tile;
  readMatrix(shared, MatrixDescriptor(issue.a), product, product.transposedA, warp.id % 4 * 16, 16,
             product.negatedA ? -1.0f : 1.0f, a);
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k)
      tile.a[k / 8][row][k % 8] = a[row][k];
  for (uint32_t column = 0; column < product.columns; column += 8) {
    readMatrix(shared, MatrixDescriptor(issue.b), product, product.transposedB, column, 8,
               product.negatedB ? -1.0f : 1.0f, b);
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 8; ++n)
        tile.b[k][n] = b[n][k];
    for (int lane = 0; lane < lanes; ++lane)
      for (uint32_t e = 0; e < 4; ++e)
        tile.c[lane / 4 + (e < 2 ? 0 : 8)][lane % 4 * 2 + static_cast<int>(e % 2)] =
            issue.adds ? accumulator(warp.products, product, column / 2 + e, lane) : 0.0f;
    multiplyTile(tile, config().mma);
    for (int lane = 0; lane < lanes; ++lane)
      for (uint32_t e = 0; e < 4; ++e)
        accumulator(warp.products, product, column / 2 + e, lane) =
            tile.c[lane / 4 + (e < 2 ? 0 : 8)][lane % 4 * 2 + static_cast<int>(e % 2)];
  }
}

bool isUniform(Warp &warp, const Inst &inst) {
  for (Operands operand : {DescriptorA, DescriptorB}) {
    const uint64_t *row = warp.row<uint64_t>(inst, operand);
    for (int lane = 1; lane < lanes; ++lane)
      if (row[lane] != row[0])
        return false;
  }
  Mask adds = warp.pred(inst.operand[ScaleD]);
  return adds == 0 || adds == allLanes;
}

// Whether the operands are what a product can read.
bool checkOperands(Warp &warp, const Inst &inst, const ProductIssue &issue) {
  auto bad = [&](const std::string &words) {
    report(ReportKind::BadOperand, warp, inst, -1, [&] { return words; });
    return false;
  };
  if (!isUniform(warp, inst))
    return bad("the lanes of a warp give different operands");
  for (uint64_t bits : {issue.a, issue.b})
    if (const char *words = MatrixDescriptor(bits).unknown())
      return bad(std::string(words) + ": descriptor " + hex(bits));
  if (warp.id / 4 * 4 + 4 > warp.block->warps.size())
    return bad("the block has no four warps here");
  bool inside = true;
  forPieces(warp, issue, [&](uint32_t address) {
    if (!inside || warp.block->shared.isInside(address, 16))
      return;
    inside = false;
    report(ReportKind::OutOfBounds, warp, inst, -1,
           [&] { return "16 bytes at the shared address " + hex(address); });
  });
  return inside;
}

// The four warps come to the same products in the same order.
bool checkGroup(Warp &warp, const Inst &inst, const ProductIssue &issue) {
  std::vector<ProductIssue> &all = warp.block->issued[warp.id / 4];
  size_t place = warp.products.issued++;
  if (place == all.size()) {
    all.push_back(issue);
    return true;
  }
  if (all[place].sameAs(issue))
    return true;
  report(ReportKind::DivergentSync, warp, inst, -1, [&] {
    return "another warp of the group came to " +
           warp.block->launch->kernel->whereIs(*all[place].inst) +
           (all[place].inst == &inst ? " with other operands" : "");
  });
  return false;
}

void checkAccumulators(Warp &warp, const Inst &inst, const ProductIssue &issue) {
  const WarpProducts &products = warp.products;
  const Kernel &kernel = *warp.block->launch->kernel;
  for (uint16_t reg : productOf(warp, inst).registers) {
    if (products.uses[reg] == 0 && products.touched[reg] == products.fences)
      report(ReportKind::UnfencedProduct, warp, inst, -1, [&] {
        return kernel.text.registers[reg].name + " was used since the last wgmma.fence";
      });
    if (issue.adds && warp.defined[reg] != allLanes)
      report(ReportKind::UninitialisedRegister, warp, inst, -1,
             [&] { return kernel.text.registers[reg].name + " was never written"; });
    warp.defined[reg] = allLanes;
  }
}

void multiply(Warp &warp, const Inst &inst, Mask mask) {
  if (!wholeWarp(warp, inst, mask))
    return;
  WarpProducts &products = warp.products;
  ProductIssue issue{&inst, warp.row<uint64_t>(inst, DescriptorA)[0],
                     warp.row<uint64_t>(inst, DescriptorB)[0],
                     warp.pred(inst.operand[ScaleD]) == allLanes, products.group};
  if (!checkOperands(warp, inst, issue) || !checkGroup(warp, inst, issue)) {
    warp.block->aborted = true;
    return;
  }
  if (config().check) {
    checkAccumulators(warp, inst, issue);
    forPieces(warp, issue, [&](uint32_t address) {
      warp.block->shared.beginAsyncRead(warp, inst, address, address + 16);
    });
  }
  const WarpgroupProduct &product = productOf(warp, inst);
  for (size_t k = 0; k < product.registers.size(); ++k) {
    uint16_t reg = product.registers[k];
    if (products.uses[reg]++)
      continue;
    uint8_t *row = warp.rows + product.rows[k];
    std::memcpy(products.kept[reg].data(), row, sizeof products.kept[reg]);
    std::memset(row, poisonByte, sizeof products.kept[reg]);
  }
  products.pending.push_back(issue);
  countWarpgroupMma(warp, inst, product.columns / 8);
}

void finish(Warp &warp, const ProductIssue &issue) {
  WarpProducts &products = warp.products;
  const WarpgroupProduct &product = productOf(warp, *issue.inst);
  execute(warp, issue);
  for (size_t k = 0; k < product.registers.size(); ++k) {
    uint16_t reg = product.registers[k];
    if (--products.uses[reg] == 0)
      std::memcpy(warp.rows + product.rows[k], products.kept[reg].data(),
                  sizeof products.kept[reg]);
  }
  if (config().check)
    forPieces(warp, issue, [&](uint32_t address) {
      warp.block->shared.endAsyncRead(warp, *issue.inst, address, address + 16);
    });
}

void fence(Warp &warp, const Inst &inst, Mask mask) {
  if (wholeWarp(warp, inst, mask))
    ++warp.products.fences;
}

void commit(Warp &warp, const Inst &inst, Mask mask) {
  if (wholeWarp(warp, inst, mask))
    ++warp.products.group;
}

// All but the newest `mode` of the groups that are committed.
void wait(Warp &warp, const Inst &inst, Mask mask) {
  if (!wholeWarp(warp, inst, mask))
    return;
  WarpProducts &products = warp.products;
  size_t due = 0;
  while (due < products.pending.size() &&
         uint64_t(products.pending[due].group) + inst.mode < products.group)
    finish(warp, products.pending[due++]);
  products.pending.erase(products.pending.begin(),
                         products.pending.begin() + static_cast<long>(due));
}

void decodeProduct(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  WarpgroupProduct product;
  for (uint32_t n = 8; n <= 256 && !product.columns; n += 8)
    if (modifiers.take("m64n" + std::to_string(n) + "k16"))
      product.columns = n;
  if (!product.columns)
    modifiers.fail();
  Type d = modifiers.type(), a = modifiers.type(), b = modifiers.type();
  if (d != Type::F32 || a != b || (a != Type::BF16 && a != Type::F16))
    modifiers.fail();
  product.bf16 = a == Type::BF16;
  decoder.expectOperands(8);
  const Operand &sums = decoder.statement().operands[0];
  if (sums.kind != Operand::Vector || sums.parts.size() != product.columns / 2)
    decoder.fail("the accumulators must be " + std::to_string(product.columns / 2) + " registers");
  for (const Operand &part : sums.parts) {
    product.rows.push_back(decoder.rowOf(part, Type::F32));
    product.registers.push_back(static_cast<uint16_t>(part.reg));
  }
  if (decoder.statement().operands[1].kind == Operand::Vector)
    decoder.fail("A in registers is not known to ptxsim");
  decoder.source(inst, 1, Type::B64);
  decoder.source(inst, 2, Type::B64);
  decoder.source(inst, 3, Type::Pred);
  auto flag = [&](size_t operand, int64_t no, int64_t yes) {
    int64_t value = decoder.constant(operand);
    if (value != no && value != yes)
      decoder.fail("operand " + std::to_string(operand) + " is " + std::to_string(value));
    return value == yes;
  };
  product.negatedA = flag(4, 1, -1), product.negatedB = flag(5, 1, -1);
  product.transposedA = flag(6, 0, 1), product.transposedB = flag(7, 0, 1);
  inst.mode = static_cast<uint32_t>(decoder.kernel.products.size());
  inst.run = multiply;
  decoder.kernel.products.push_back(std::move(product));
}

void decodeWarpgroup(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  int operation = modifiers.takeOne({"mma_async", "fence", "commit_group", "wait_group"});
  if (operation < 0 || !modifiers.take("sync") || !modifiers.take("aligned"))
    modifiers.fail();
  if (!decoder.isFor("sm_90a"))
    decoder.fail("needs the target sm_90a");
  if (operation == 0)
    return decodeProduct(decoder, modifiers, inst);
  decoder.expectOperands(operation == 3 ? 1 : 0);
  inst.run = operation == 1 ? fence : operation == 2 ? commit : wait;
  if (operation == 3)
    inst.mode = static_cast<uint32_t>(decoder.constant(0));
}

} // namespace

// What the warp wrote to shared memory is there for asynchronous readers.
void fenceProxies(Warp &warp, const Inst &inst, Mask mask) {
  if (wholeWarp(warp, inst, mask))
    warp.block->shared.clocks.fence(warp.id);
}

void addWarpgroupOps(OpcodeTable &table) { table["wgmma"] = decodeWarpgroup; }

} // namespace ptxsim
