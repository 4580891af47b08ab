#pragma once
// The regions of a kernel `each` as its body sees them: float32, however they are stored (the
// kernel's param `storage`).

#include "compiler/codegen/cpu/families/Matrices.h"

namespace lorac::cpu {

class EachRegions {
public:
  /// Bytes of scratch.
  static int64_t scratch(mlir::DictionaryAttr params);
  /// The buffers that the regions bring, in order: one of floats; of codes theirs, then their
  /// absmax. Where there are codes, the table of both maps (formats::DynamicTable, signed first)
  /// comes last; where there are numbers of rows, columns or parameters, the table of LoracMatrix.
  static llvm::SmallVector<mlir::MemRefType> buffers(lora::KernelOp kernel);

  /// `first`: the kernel's first buffer of a region.
  EachRegions(KernelBuilder &k, lora::KernelOp kernel, unsigned first);

  /// Calls `part` for what the span's elements are gone through in: all of them, blocks of codes,
  /// or rows. `offset` counts elements of whole regions; `own` those of compact ones, blocks, or
  /// parameters.
  void over(mlir::Value offset, mlir::Value count, mlir::Value own,
            llvm::function_ref<void(llvm::ArrayRef<EachPlace> places, mlir::Value count)> part);

private:
  struct Codes {
    mlir::Value memory, absmax, values; ///< values: a block of them in scratch
    int64_t map;                        ///< its place in the table
    bool isWritten;
  };
  void overRows(mlir::Value offset, mlir::Value count, mlir::Value parameter,
                llvm::function_ref<void(llvm::ArrayRef<EachPlace> places, mlir::Value count)> part);
  void decode(const Codes &codes, mlir::Value at, mlir::Value block, mlir::Value count);
  void encode(const Codes &codes, mlir::Value at, mlir::Value block, mlir::Value count);

  KernelBuilder &k;
  llvm::SmallVector<lora::Storage> storage;
  KernelBuilder::Values floats; ///< of each region; null: codes
  llvm::SmallVector<Codes> codes;
  mlir::Value table, matrices;
};

} // namespace lorac::cpu
