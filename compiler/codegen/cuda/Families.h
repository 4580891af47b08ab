#pragma once
// The kernel families of the CUDA target (docs/plan.md, "Kernel families (cpu)"; docs/cuda.md). A
// family is one file in families/ and one line in Families.def; its parameters and buffers are
// those of the CPU's family of the same name.

#include "compiler/codegen/cuda/DeviceBuilder.h"
#include "compiler/dialect/LoraOps.h"
#include "runtime/formats/WeightFormat.h"

#include "llvm/Support/Error.h"

#include <array>

namespace lorac::cuda {

/// What kernels are generated for.
struct CudaTarget {
  std::string compute = "bf16";   ///< bf16 | f16
  std::vector<std::string> archs; ///< sm_80, …; kernels fit all of them
  int64_t sharedPerBlock = 101376;
  int64_t multiprocessors = 108; ///< that a launch should fill

  /// Whether kernels may use warpgroups: they then run on compute capability 9.0 alone.
  bool warpgroups() const { return archs.size() == 1 && archs[0] == "sm_90a"; }

  /// An error names the architecture that is not in the table.
  static llvm::Expected<CudaTarget> get(llvm::ArrayRef<std::string> archs, llvm::StringRef compute);
  mlir::Type computeType(mlir::MLIRContext *context) const;
};

using Grid = std::array<int64_t, 3>;

/// One kernel under construction: its parameters, and the buffers as arguments.
class Kernel {
public:
  Kernel(lora::KernelOp op, mlir::OpBuilder &builder, const CudaTarget &target)
      : op(op), builder(builder), target(target) {}

  lora::KernelOp op;
  mlir::OpBuilder &builder;
  const CudaTarget &target;

  bool has(llvm::StringRef name) { return op.hasParam(name); }
  int64_t integer(llvm::StringRef name) { return op.intParam(name); }
  bool flag(llvm::StringRef name) { return op.hasParam(name) && op.intParam(name) != 0; }
  double number(llvm::StringRef name) { return op.floatParam(name); }
  llvm::StringRef string(llvm::StringRef name) { return op.stringParam(name); }
  mlir::Type compute() { return target.computeType(op.getContext()); }

  /// Element types of the launch's buffers, in order, without those of weights: "bf16", "f32",
  /// "f64", "i32", "i8".
  mlir::Type element(unsigned buffer);
  /// An argument for buffer `buffer` of the launch.
  DeviceBuilder::Argument argument(llvm::StringRef name, unsigned buffer, bool written = false);
  /// Arguments for the parts of a weight in parameter `format`, or the given one.
  llvm::SmallVector<DeviceBuilder::Argument> weightArguments();
  llvm::SmallVector<DeviceBuilder::Argument> weightArguments(const formats::WeightFormat &format);
};

struct Family {
  llvm::StringRef name;
  llvm::StringRef formula; ///< for the reader of the kernel
  /// Blocks of a launch over `rows` rows.
  Grid (*grid)(mlir::DictionaryAttr params, const CudaTarget &target, int64_t rows);
  /// Emits `func.func @<kernel>` at the builder's place; an error names the parameter that the
  /// family cannot serve.
  mlir::LogicalResult (*build)(Kernel &kernel);
};

/// Null where no family has the name.
const Family *findFamily(llvm::StringRef name);

/// "256 x 128": the largest tile of a linear with NF4 weights that fits the target's blocks.
std::string largestLinearTile(const CudaTarget &target);

int64_t intParam(mlir::DictionaryAttr params, llvm::StringRef name);
llvm::StringRef stringParam(mlir::DictionaryAttr params, llvm::StringRef name);
inline int64_t roundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t ceilDiv(int64_t n, int64_t by) { return (n + by - 1) / by; }

} // namespace lorac::cuda
