#pragma once
// The regions of a kernel `each` as its body sees them: float32, however they are stored (the
// kernel's param `storage`).

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

/// Where a body finds the elements of a span, or of a part of it: `from` and what follows.
struct EachPlace {
  mlir::Value memory, from;
};

class EachRegions {
public:
  /// Bytes of scratch.
  static int64_t scratch(mlir::DictionaryAttr params);
  /// The buffers that the regions bring, in order: one of floats; of codes theirs, then their
  /// absmax. Where there are codes, the table of both maps (formats::DynamicTable, signed first)
  /// comes last.
  static llvm::SmallVector<mlir::MemRefType> buffers(lora::KernelOp kernel);

  /// `first`: the kernel's first buffer of a region.
  EachRegions(KernelBuilder &k, lora::KernelOp kernel, unsigned first);

  /// Calls `part` for what the span's elements are gone through in: all of them, or blocks of
  /// codes. `offset` counts elements of whole regions; `own` those of compact ones, or blocks.
  void over(mlir::Value offset, mlir::Value count, mlir::Value own,
            llvm::function_ref<void(llvm::ArrayRef<EachPlace> places, mlir::Value count)> part);

private:
  struct Codes {
    mlir::Value memory, absmax, values; ///< values: a block of them in scratch
    int64_t map;                        ///< its place in the table
    bool isWritten;
  };
  void decode(const Codes &codes, mlir::Value at, mlir::Value block, mlir::Value count);
  void encode(const Codes &codes, mlir::Value at, mlir::Value block, mlir::Value count);

  KernelBuilder &k;
  llvm::SmallVector<lora::Storage> storage;
  KernelBuilder::Values floats; ///< of each region; null: codes
  llvm::SmallVector<Codes> codes;
  mlir::Value table;
};

} // namespace lorac::cpu
