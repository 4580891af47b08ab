#pragma once
// The regions of a kernel `each` as its body sees them: float32, however they are stored (the
// kernel's param `storage`). A block of threads goes through a span by as many elements as it has
// threads, which are those of a block of codes.

#include "compiler/codegen/cuda/families/Matrices.h"
#include "runtime/formats/Dynamic8.h"

#include <string>
#include <vector>

namespace lorac::cuda {

constexpr int64_t eachThreads = formats::dynamicBlock;

/// An argument of the kernel that a region brings.
struct EachArgument {
  std::string name;
  bool written;
};

class EachRegions {
public:
  /// What the regions bring, in order: floats; or codes, then their absmax. Where there are codes,
  /// the table of both maps (formats::DynamicTable, signed first) comes last; where there are
  /// numbers of rows, columns or parameters, that of LoracMatrix. `names` are the regions'.
  static std::vector<EachArgument> arguments(lora::KernelOp kernel,
                                             llvm::ArrayRef<std::string> names);

  /// Takes the next buffers of `d`.
  EachRegions(DeviceBuilder &d, lora::KernelOp kernel, llvm::ArrayRef<std::string> names);

  /// For this thread's elements of the span from `offset` to `end`: loads them, calls `body` for
  /// their new values, stores those. `own` is the span's own place: of compact regions, the
  /// first of its blocks, or its parameter.
  using Body = llvm::function_ref<llvm::SmallVector<mlir::Value>(llvm::ArrayRef<mlir::Value>)>;
  void over(Int offset, Int end, llvm::function_ref<Int()> own, Body body);

private:
  struct Region {
    std::string name;
    lora::Storage storage;
    mlir::Value memory, absmax;
    bool isCode() const { return lora::isCode(storage); }
    /// Of the table.
    int64_t map() const {
      return storage == lora::Storage::DynamicSigned ? 0 : formats::dynamicTableFloats;
    }
  };
  void overBlocks(Int offset, Int end, Int own, Body body);
  Int codeOf(const Region &region, Num point);

  DeviceBuilder &d;
  llvm::ArrayRef<int64_t> writes;
  std::vector<Region> regions;
  mlir::Value table, matrices;
};

} // namespace lorac::cuda
