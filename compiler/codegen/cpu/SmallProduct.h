#pragma once
// The products of an adapter's factors with activations, C[m, :] over rows: matmul_nt and matmul_nn
// differ only in how the factor is packed.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/PanelGemm.h"

namespace lorac::cpu {

/// Blocks and scratch of a product with `j` columns over `steps`.
struct SmallProductPlan {
  RegisterTile tile;
  GemmBlocks blocks;
  int64_t bytes;
  SmallProductPlan(const CpuTarget &target, int64_t j, int64_t steps);
};

mlir::FailureOr<KernelShape> describeSmallProduct(mlir::Location loc, mlir::DictionaryAttr params,
                                                  const CpuTarget &target);

/// Writes one packed vector group: panels[slot][s - from][:] of the factor for s in [from, to),
/// scaled.
using PackFactor = llvm::function_ref<void(
    KernelBuilder &k, const SmallProductPlan &plan, mlir::Value factor, mlir::Value panels,
    mlir::Value panel, mlir::Value slot, mlir::Value from, mlir::Value to, double scale)>;

/// `factorShape` is the dense type of buffer 1.
mlir::LogicalResult buildSmallProduct(lora::KernelOp kernel, mlir::OpBuilder &builder,
                                      const CpuTarget &target, llvm::ArrayRef<int64_t> factorShape,
                                      PackFactor pack);

int64_t smallProductFlops(mlir::DictionaryAttr params, int64_t rows);

} // namespace lorac::cpu
