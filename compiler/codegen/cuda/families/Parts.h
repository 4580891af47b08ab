#pragma once
// Which of its parts a block is at, and what belongs to that part. Where all parts agree, and where
// there is one, nothing is asked while the kernel runs.

#include "compiler/codegen/cuda/DeviceBuilder.h"

namespace lorac::cuda {

class Parts {
public:
  Parts(DeviceBuilder &d, size_t count) : d(d), count(count), index(d.constant(0)) {}
  /// Before the first pick.
  void set(Int part) { index = part; }

  Int pick(llvm::StringRef name, llvm::function_ref<int64_t(size_t part)> of) const;
  Num pickNum(llvm::StringRef name, llvm::function_ref<double(size_t part)> of) const;
  /// Null values are those of parts that do not ask.
  Int pick(llvm::StringRef name, llvm::ArrayRef<std::optional<Int>> values) const;
  mlir::Value pick(llvm::StringRef name, llvm::ArrayRef<mlir::Value> memories) const;
  /// A branch for each part.
  void each(llvm::function_ref<void(size_t part)> body) const { from(0, body); }

private:
  void from(size_t part, llvm::function_ref<void(size_t part)> body) const;

  DeviceBuilder &d;
  size_t count;
  Int index;
};

} // namespace lorac::cuda
