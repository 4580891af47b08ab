// C[m,j] [+]= scale·Σk A[m,k]·B[k,j]: dt = dy·lora_B, and dx += dt·lora_A. B's rows are copied into
// panels.

#include "compiler/codegen/cpu/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  int64_t j = kernel.intParam("j");
  auto copyRows = [&](KernelBuilder &k, const SmallProductPlan &plan, Value factor, Value panels,
                      Value panel, Value slot, Value from, Value to, double scale) {
    int64_t width = plan.tile.width();
    k.forLoop(from, to, 1, [&](Value s) {
      for (int64_t part = 0; part < width; part += k.lanes()) {
        Value column = k.add(k.mul(panel, width), part);
        Value values = j % width == 0
                           ? k.vload(factor, {s, column})
                           : k.vloadMasked(factor, {s, column}, k.mask(k.sub(k.index(j), column)));
        if (scale != 1.0)
          values = k.mulf(values, k.splatF32(scale));
        k.vstore(values, panels, {slot, k.sub(s, from), k.index(part)});
      }
    });
  };
  return buildSmallProduct(kernel, builder, target, {kernel.intParam("k"), kernel.intParam("ldb")},
                           copyRows);
}

namespace lorac::cpu {
extern const Family matmulNnFamily;
const Family matmulNnFamily{"matmul_nn", "C[m,j] [+]= scale·Σk A[m,k]·B[k,j]", describeSmallProduct,
                            build, smallProductFlops};
} // namespace lorac::cpu
