#pragma once
// The kernels of a module, by content: identical ops share one.

#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/Builders.h"

namespace lorac::lora {

/// A family with its parameters and, for a map, the body (null: the map copies); for a cross
/// entropy what makes a logit of a product, and its derivative (null: nothing does).
struct KernelKey {
  std::string family;
  llvm::SmallVector<mlir::NamedAttribute> params;
  mlir::Region *body = nullptr;
};

class KernelTable {
public:
  explicit KernelTable(mlir::ModuleOp module) : module(module) {}

  /// The symbol of the kernel with this content; declares it at its first use. Tile space and
  /// scratch stay open
  /// (`rows tile 0 count 0 scratch 0`) until the target describes them.
  mlir::FlatSymbolRefAttr get(const KernelKey &key, mlir::Location loc);

private:
  mlir::ModuleOp module;
  llvm::StringMap<mlir::FlatSymbolRefAttr> byContent;
  llvm::StringMap<int> names;
};

/// The element types of a launch's buffers, in order, without those of weights: "bf16 f32".
std::string elementsOf(mlir::ValueRange operands);

} // namespace lorac::lora
