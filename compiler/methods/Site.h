#pragma once
// One adapted linear while its method rewrites it: what a method's file is written with.

#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/Builders.h"

namespace lorac::methods {

class Site {
public:
  using Value = mlir::Value;

  /// `stream` numbers the adapted linears of the model: dropout draws by it.
  Site(lora::LinearOp linear, lora::AdapterOp adapter, int64_t stream);

  lora::LinearOp linear;
  lora::AdapterOp adapter;
  mlir::OpBuilder b;  ///< behind the linear
  mlir::Location loc; ///< named by the module, at the adapter's place in the spec

  int64_t rank() { return int64_t(adapter.getRank()); }
  int64_t in() { return weightType().getShape()[1]; }
  int64_t out() { return weightType().getShape()[0]; }

  /// Declares a parameter of the adapter, `<module>.<role>` and the suffix.
  lora::ParamOp declare(lora::ParamRole role, llvm::ArrayRef<int64_t> shape,
                        llvm::StringRef suffix = ".weight");
  Value valueOf(lora::ParamOp param);
  /// The end of a program beside the model's, which takes and returns nothing.
  mlir::OpBuilder program(llvm::StringRef name, lora::When runs);

  /// The linear's x, and what dropout leaves of it.
  Value x() { return linear.getX(); }
  Value dropped();
  Value weight() { return linear.getWeight(); }
  /// x·Wᵀ, of the linear's x or another one.
  Value base() { return linear.getY(); }
  Value base(Value x) {
    return lora::LinearOp::create(b, linear.getLoc(), base().getType(), x, weight());
  }

  struct Update {
    Value a, b; ///< lora_A [r, in], lora_B [out, r]
    Value y;    ///< scale·(x·Aᵀ)·Bᵀ
  };
  /// LoRA's update of `x`, with the parameters lora_A and lora_B.
  Update lowRank(Value x);

  Value sum(Value x, Value y) { return lora::MapOp::sum(b, loc, x, y); }
  /// Of the operands element by element; the first has the result's shape.
  Value map(mlir::ValueRange operands, llvm::function_ref<Value(mlir::ValueRange)> element) {
    return lora::MapOp::of(b, loc, operands, element);
  }

private:
  int64_t stream;
  lora::WeightType weightType() {
    return llvm::cast<lora::WeightType>(linear.getWeight().getType());
  }
};

} // namespace lorac::methods
