#pragma once
// The products of an adapter's factors with activations, C[m, :] over rows: matmul_nt and matmul_nn
// differ only in how the factor is packed.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/PanelGemm.h"

namespace lorac::cpu {

/// Blocks and scratch of a product with `j` columns over `k` steps. Where one of them is a rank
/// that comes with the launch (`scalars`), `columns` says how wide tiles are: 8, or 16.
struct SmallProductPlan {
  RegisterTile tile;
  GemmBlocks blocks;
  int64_t bytes;
  SmallProductPlan(const CpuTarget &target, mlir::DictionaryAttr params);
};

mlir::FailureOr<KernelShape> describeSmallProduct(mlir::Location loc, mlir::DictionaryAttr params,
                                                  const CpuTarget &target);

/// Writes one packed vector group: panels[slot][s - from][:] of the factor for s in [from, to),
/// scaled.
using PackFactor = llvm::function_ref<void(
    KernelBuilder &k, const SmallProductPlan &plan, const Matrix &factor, mlir::Value panels,
    mlir::Value panel, mlir::Value slot, mlir::Value from, mlir::Value to, double scale)>;

mlir::LogicalResult buildSmallProduct(lora::KernelOp kernel, mlir::OpBuilder &builder,
                                      const CpuTarget &target, PackFactor pack);

int64_t smallProductFlops(mlir::DictionaryAttr params, int64_t rows);

} // namespace lorac::cpu
