#pragma once
// The kernel families of the CPU target (docs/plan.md, "Kernel families (cpu)").
// A family is one file in families/ and one line in Families.def.

#include "compiler/codegen/cpu/Target.h"
#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/Builders.h"

namespace lorac::cpu {

/// What a launch of the kernel counts, and the scratch bytes that each worker needs.
struct KernelShape {
  lora::TileSpace space;
  int64_t tile = 1;    ///< rows of a tile where the space is `rows`
  int64_t count = 0;   ///< tiles where the space is `const`, tiles a segment where it is `segments`
  int64_t scratch = 0; ///< bytes, 64-byte aligned
};

struct Family {
  llvm::StringRef name;
  llvm::StringRef formula; ///< for the reader of 60-kernels
  /// The tile space for `params`; an error names the parameter that the family cannot serve.
  mlir::FailureOr<KernelShape> (*describe)(mlir::Location loc, mlir::DictionaryAttr params,
                                           const CpuTarget &target);
  /// Emits `func.func @<kernel>.body` at the builder's place, through KernelBuilder.
  mlir::LogicalResult (*build)(lora::KernelOp kernel, mlir::OpBuilder &builder,
                               const CpuTarget &target);
  /// Floating-point operations of a launch over `rows` rows; 0 where nobody counts them.
  int64_t (*flops)(mlir::DictionaryAttr params, int64_t rows);
};

/// Null where no family has the name.
const Family *findFamily(llvm::StringRef name);
llvm::ArrayRef<const Family *> allFamilies();

/// A parameter of a family, read where there is no KernelOp yet.
int64_t intParam(mlir::DictionaryAttr params, llvm::StringRef name);
double floatParam(mlir::DictionaryAttr params, llvm::StringRef name);
llvm::StringRef stringParam(mlir::DictionaryAttr params, llvm::StringRef name);

/// The rank of a linear's update: the parameter `rank`, or where it comes with the launch the bound
/// `most_rank` that scratch is sized by; 0: none.
int64_t mostRank(mlir::DictionaryAttr params);

inline int64_t roundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t ceilDiv(int64_t n, int64_t by) { return (n + by - 1) / by; }

} // namespace lorac::cpu
