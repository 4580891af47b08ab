// C[m,j] [+]= scale·Σk A[m,k]·B[j,k]: t = x·lora_Aᵀ. B's rows are transposed into panels.

#include "compiler/codegen/cpu/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

// Blocks of lanes × lanes through registers, what is left of the columns one by one. Rows beyond j
// repeat the last: C's padding may hold anything.
static void packRows(KernelBuilder &k, const SmallProductPlan &plan, const Matrix &factor,
                     Value panels, Value panel, Value slot, Value from, Value to, double scale) {
  int64_t lanes = k.lanes(), width = plan.tile.width();
  Value last = k.sub(k.param("j"), 1);
  auto rowOf = [&](int64_t lane) { return k.min(k.add(k.mul(panel, width), lane), last); };
  auto scaled = [&](Value x, Value by) { return scale == 1.0 ? x : k.mulf(x, by); };
  Value whole = k.add(from, k.mul(k.div(k.sub(to, from), lanes), lanes));
  for (int64_t part = 0; part < width; part += lanes) {
    k.forLoop(from, whole, lanes, [&](Value s) {
      KernelBuilder::Values rows;
      for (int64_t lane = 0; lane < lanes; ++lane)
        rows.push_back(
            scaled(k.vload(factor.memory, k.at(factor, rowOf(part + lane), s)), k.splatF32(scale)));
      for (const auto &[i, column] : llvm::enumerate(transpose(k, rows)))
        k.vstore(column, panels, {slot, k.add(k.sub(s, from), i), k.index(part)});
    });
  }
  k.forLoop(whole, to, 1, [&](Value s) {
    for (int64_t lane = 0; lane < width; ++lane)
      k.store(scaled(k.load(factor.memory, k.at(factor, rowOf(lane), s)), k.constF32(scale)),
              panels, {slot, k.sub(s, from), k.index(lane)});
  });
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  return buildSmallProduct(kernel, builder, target, packRows);
}

namespace lorac::cpu {
extern const Family matmulNtFamily;
const Family matmulNtFamily{"matmul_nt", "C[m,j] [+]= scale·Σk A[m,k]·B[j,k]", describeSmallProduct,
                            build, smallProductFlops};
} // namespace lorac::cpu
