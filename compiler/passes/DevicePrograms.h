#pragma once
// Programs besides those of the model, over whole regions of the arena: their buffers and launches.
// Before PlanMemory, which places the buffers.

#include "compiler/passes/KernelTable.h"

namespace lorac::lora {

class DevicePrograms {
public:
  /// `what` stands in the plan for the place in the spec, since no line of it asks for the
  /// launches.
  DevicePrograms(mlir::ModuleOp module, llvm::StringRef what)
      : module(module), what(what), kernels(module), b(module.getContext()) {}

  /// Buffers and launches are of this program from here on; its function.
  mlir::Operation *open(llvm::StringRef name);

  /// A region of the arena that outlives programs; PlanMemory declares params and grads.
  void declare(RegionRole kind, llvm::StringRef name, int64_t floats);
  /// One that is declared, or params or grads.
  mlir::Value region(llvm::StringRef name, int64_t floats);
  /// What the runtime writes or reads; of i32 where `integers`.
  mlir::Value io(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, bool integers = false);
  mlir::Value local(llvm::StringRef label, int64_t floats);

  /// `rows` make the grid; `scalars` are what the kernel is told of this program's sizes, which are
  /// no parameters so that the kernel stays the same where ranks change.
  void launch(llvm::StringRef family, mlir::ValueRange operands, int64_t rows,
              llvm::ArrayRef<int64_t> scalars = {}) {
    launch(KernelKey{family.str(), {}}, operands, rows, scalars);
  }
  /// The same of a kernel with parameters or a body; the buffers' elements are added to them.
  void launch(KernelKey key, mlir::ValueRange operands, int64_t rows,
              llvm::ArrayRef<int64_t> scalars = {});

  /// What the host puts at `at` of `memory` before the program runs; see `lora.scalar`.
  void scalar(mlir::Value memory, int64_t at, llvm::StringRef label, mlir::ArrayAttr formula,
              int64_t byGroup = 0);

private:
  mlir::Value buffer(BufferRole role, llvm::StringRef label, llvm::ArrayRef<int64_t> shape,
                     mlir::Type element);

  mlir::ModuleOp module;
  llvm::StringRef what;
  KernelTable kernels;
  mlir::OpBuilder b;
};

} // namespace lorac::lora
