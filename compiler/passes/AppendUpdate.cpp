// The optimizer's step as programs of a device: @norm writes the gradient's norm and the clipping
// factor, @update is AdamW over all adapters. Before PlanMemory, which places their buffers.

#include "compiler/passes/KernelTable.h"
#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "runtime/abi.h"

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDUPDATE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

constexpr int64_t Span = 4096; // floats that one block of a kernel takes

struct AppendUpdatePass : lorac::lora::impl::AppendUpdateBase<AppendUpdatePass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    int64_t count = 0, spans = 0;
    for (ParamOp param : module.getOps<ParamOp>()) {
      int64_t n = cast<RankedTensorType>(param.getType()).getNumElements();
      count += n, spans += (n + Span - 1) / Span;
    }
    if (count == 0)
      return;
    KernelTable kernels(module);
    int64_t parts = (count + Span - 1) / Span;
    buildNorm(module, kernels, count, parts);
    buildUpdate(module, kernels, count, spans);
  }

  void buildNorm(ModuleOp module, KernelTable &kernels, int64_t count, int64_t parts) {
    OpBuilder b = openProgram(module, "norm");
    Value grads = buffer(b, BufferRole::Region, "grads", {count}, b.getF32Type()),
          sums = buffer(b, BufferRole::Local, "sums of squares", {parts}, b.getF32Type());
    launch(b, kernels, "grad_norm_parts", {integer(b, "count", count)}, {grads, sums}, count);
    launch(b, kernels, "grad_norm", {integer(b, "parts", parts)}, {sums, updateRegion(b)}, 1);
  }

  void buildUpdate(ModuleOp module, KernelTable &kernels, int64_t count, int64_t spans) {
    OpBuilder b = openProgram(module, "update");
    static_assert(sizeof(LoracStep) % 4 == 0);
    buffer(b, BufferRole::IO, "step", {sizeof(LoracStep) / 4}, b.getI32Type());
    Value table = buffer(b, BufferRole::IO, "update_spans", {spans, 4}, b.getI32Type());
    SmallVector<Value> operands{table, updateRegion(b)};
    for (StringRef region : {"params", "grads", "exp_avg", "exp_avg_sq"})
      operands.push_back(buffer(b, BufferRole::Region, region, {count}, b.getF32Type()));
    launch(b, kernels, "adamw", {integer(b, "spans", spans)}, operands, spans);
  }

  OpBuilder openProgram(ModuleOp module, StringRef name) {
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    Location loc = module.getLoc();
    auto func = func::FuncOp::create(b, loc, name, b.getFunctionType({}, {}));
    b.setInsertionPointToStart(func.addEntryBlock());
    b.setInsertionPoint(func::ReturnOp::create(b, loc));
    return b;
  }

  Value updateRegion(OpBuilder &b) {
    return buffer(b, BufferRole::IO, "update", {sizeof(LoracUpdate) / 4}, b.getF32Type());
  }
  Value buffer(OpBuilder &b, BufferRole role, StringRef label, ArrayRef<int64_t> shape,
               Type element) {
    return BufferOp::create(b, b.getUnknownLoc(), MemRefType::get(shape, element), role, label, -1);
  }
  NamedAttribute integer(OpBuilder &b, StringRef name, int64_t value) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(value));
  }
  void launch(OpBuilder &b, KernelTable &kernels, StringRef family,
              SmallVector<NamedAttribute> params, ValueRange operands, int64_t rows) {
    Location loc = NameLoc::get(b.getStringAttr("optimizer"));
    params.push_back(b.getNamedAttr("elements", b.getStringAttr(elementsOf(operands))));
    auto op = LaunchOp::create(b, loc, kernels.get({family.str(), params}, loc), operands,
                               b.getI64IntegerAttr(0), b.getI64IntegerAttr(rows),
                               /*scalars=*/nullptr, b.getUnitAttr());
    op->setAttr("flops", b.getI64IntegerAttr(0));
  }
};

} // namespace
