#pragma once
// Programs besides those of the model, over whole regions of the arena: their buffers and launches.
// Before PlanMemory, which places the buffers.

#include "compiler/optimizers/Steps.h"
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
  /// Numbers of a state of this storage that has one for each element, row or column, or one in
  /// all.
  int64_t countOf(Storage storage) const;

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
  /// What the host tells the program that was opened, in the io buffer of its name.
  struct Told {
    int64_t floats;
    int64_t next = 0; ///< the first that is free
    mlir::Value memory = {};
  };
  /// Floats that an update is told.
  int64_t toldOf(const optimizers::Update &update) const {
    return int64_t(update.ofAll().size() + groups * update.ofGroups().size());
  }

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
  /// `each`, by what `update` wrote. A launch a part; without, one over all spans.
  void launch(llvm::StringRef what, optimizers::Update &update, Told &told,
              llvm::ArrayRef<Part> parts = {});
  /// All steps in their order; the kernels' names begin with `what`.
  void launch(llvm::StringRef what, optimizers::Steps &steps);

private:
  mlir::Value buffer(BufferRole role, llvm::StringRef label, llvm::ArrayRef<int64_t> shape,
                     mlir::Type element);
  /// What the host puts at `at` of `memory` before the program runs; see `lora.scalar`.
  void scalar(mlir::Value memory, size_t at, const optimizers::Scalar &scalar, int64_t byGroup);

  void launch(llvm::StringRef what, optimizers::MeanStep &step, Told &told);
  void launch(llvm::StringRef what, optimizers::SumStep &step, Told &told);

  /// The buffers of a state that lies so.
  void addState(llvm::SmallVectorImpl<mlir::Value> &to, llvm::StringRef name, Storage storage);
  Storage storageOf(llvm::StringRef region);
  /// Where a number of all parameters lies.
  struct Place {
    mlir::Value memory;
    int64_t at = 0;
  };
  Place placeOf(llvm::StringRef one);
  Place placeOf(const optimizers::One &one, Told &told);
  /// Adds their buffers to `operands`; the places in those.
  mlir::NamedAttribute addOnes(llvm::SmallVectorImpl<mlir::Value> &operands,
                               llvm::ArrayRef<Place> ones);
  mlir::Value memoryOf(Told &told);
  /// The table of LoracMatrix.
  mlir::Value matrixTable();

  mlir::ModuleOp module;
  llvm::StringRef what;
  KernelTable kernels;
  mlir::OpBuilder b;
  struct Size {
    int64_t now, atStart, rows, columns;
  };
  llvm::SmallVector<Size> sizes; ///< of each parameter
  int64_t count = 0, pieces = 0, groups = 0;
  /// What steps of the program that was opened have left for those behind them, by name.
  llvm::StringMap<std::pair<mlir::Value, Storage>> results;
};

} // namespace lorac::lora
