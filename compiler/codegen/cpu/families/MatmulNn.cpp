// C[m,j] [+]= scale·Σk A[m,k]·B[k,j]: dt = dy·lora_B, and dx += dt·lora_A. B's rows are copied into
// panels.

#include "compiler/codegen/cpu/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  auto copyRows = [&](KernelBuilder &k, const SmallProductPlan &plan, const Matrix &factor,
                      Value panels, Value panel, Value slot, Value from, Value to, double scale) {
    int64_t width = plan.tile.width();
    const bool whole = !isScalar(kernel, "j") && kernel.intParam("j") % width == 0;
    k.forLoop(from, to, 1, [&](Value s) {
      for (int64_t part = 0; part < width; part += k.lanes()) {
        Value column = k.add(k.mul(panel, width), part);
        const KernelBuilder::Values at = k.at(factor, s, column);
        Value values = whole
                           ? k.vload(factor.memory, at)
                           : k.vloadMasked(factor.memory, at, k.mask(k.sub(k.param("j"), column)));
        if (scale != 1.0)
          values = k.mulf(values, k.splatF32(scale));
        k.vstore(values, panels, {slot, k.sub(s, from), k.index(part)});
      }
    });
  };
  return buildSmallProduct(kernel, builder, target, copyRows);
}

namespace lorac::cpu {
extern const Family matmulNnFamily;
const Family matmulNnFamily{"matmul_nn", "C[m,j] [+]= scale·Σk A[m,k]·B[k,j]", describeSmallProduct,
                            build, smallProductFlops};
} // namespace lorac::cpu
