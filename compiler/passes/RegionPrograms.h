#pragma once
// Programs besides those of the model, over whole regions of the arena: their buffers and launches.
// Before PlanMemory, which places the buffers.

#include "compiler/optimizers/Update.h"
#include "compiler/passes/KernelTable.h"

namespace lorac::lora {

class RegionPrograms {
public:
  /// `what` stands in the plan for the place in the spec, since no line of it asks for the
  /// launches.
  RegionPrograms(mlir::ModuleOp module, llvm::StringRef what);

  /// Of all parameters: numbers, and spans, of at most 4096 of one parameter.
  int64_t floats() const { return count; }
  int64_t spans() const { return pieces; }

  /// Numbers, spans and blocks of 256 of the parameters that had at least so many elements before
  /// AdaLoRA's ranks fell, so that none loses its 8 bits; their spans come first in the table.
  struct Share {
    int64_t floats = 0, spans = 0, blocks = 0;
  };
  Share shareFrom(int64_t elements) const;

  /// Buffers and launches are of this program from here on.
  void open(llvm::StringRef name, When runs);

  /// A region of the arena that outlives programs; PlanMemory declares params and grads.
  void declare(RegionRole kind, llvm::StringRef name, int64_t count,
               Storage storage = Storage::Floats);
  /// One that is declared, or params or grads; `floats` of f32 where it is one of those.
  mlir::Value region(llvm::StringRef name, int64_t floats);
  mlir::Value region(llvm::StringRef name) { return region(name, count); }
  /// What the runtime writes or reads; of i32 where `integers`.
  mlir::Value io(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, bool integers = false);
  /// The table of spans (PlanSpan), and LoracNorm.
  mlir::Value spanTable() { return io("update_spans", {pieces, 4}, /*integers=*/true); }
  mlir::Value norm();
  mlir::Value local(llvm::StringRef label, int64_t count, mlir::Type element);

  /// `rows` make the grid; `scalars` are what the kernel is told of this program's sizes, which are
  /// no parameters so that the kernel stays the same where ranks change.
  void launch(llvm::StringRef family, mlir::ValueRange operands, int64_t rows,
              llvm::ArrayRef<int64_t> scalars = {}) {
    launch(KernelKey{family.str(), {}}, operands, rows, scalars);
  }
  /// The same of a kernel with parameters or a body; the buffers' elements are added to them.
  void launch(KernelKey key, mlir::ValueRange operands, int64_t rows,
              llvm::ArrayRef<int64_t> scalars = {});
  /// Parameters of a kernel.
  mlir::NamedAttribute param(llvm::StringRef key, llvm::StringRef value);
  mlir::NamedAttribute param(llvm::StringRef key, int64_t value);
  mlir::NamedAttribute places(llvm::StringRef key, llvm::ArrayRef<int64_t> values);
  /// Spans that a launch of `each` goes over, and how their states are stored, one by one.
  struct Part {
    std::string what; ///< in the kernel's name
    int64_t first = 0, spans = 0;
    llvm::SmallVector<Storage> storage;
  };
  /// `each`, by what `update` wrote; what the host tells it is the io buffer `scalars`. A launch a
  /// part; over all spans and states of float32 without.
  void launch(llvm::StringRef what, optimizers::Update &update, llvm::StringRef scalars,
              llvm::ArrayRef<Part> parts = {});

private:
  mlir::Value buffer(BufferRole role, llvm::StringRef label, llvm::ArrayRef<int64_t> shape,
                     mlir::Type element);
  /// What the host puts at `at` of `memory` before the program runs; see `lora.scalar`.
  void scalar(mlir::Value memory, size_t at, const optimizers::Scalar &scalar, int64_t byGroup);

  /// The buffers of a state that lies so.
  void addState(llvm::SmallVectorImpl<mlir::Value> &to, llvm::StringRef name, Storage storage);

  mlir::ModuleOp module;
  llvm::StringRef what;
  KernelTable kernels;
  mlir::OpBuilder b;
  struct Size {
    int64_t now, atStart;
  };
  llvm::SmallVector<Size> sizes; ///< of each parameter
  int64_t count = 0, pieces = 0, groups = 0;
};

} // namespace lorac::lora
