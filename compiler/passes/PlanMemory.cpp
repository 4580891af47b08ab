// 50-planned: lifetimes -> one arena with offsets. After SelectKernels, when every buffer and its
// uses are known.

#include "compiler/passes/InferenceBuffers.h"
#include "compiler/passes/Passes.h"
#include "mlir/IR/Builders.h"

namespace lorac::lora {
#define GEN_PASS_DEF_PLANMEMORY
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

int64_t bytesOf(MemRefType type) {
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

struct Lifetime {
  BufferOp buffer;
  int64_t bytes, first, last, offset = -1;
  bool overlaps(const Lifetime &other) const { return first <= other.last && other.first <= last; }
};

struct PlanMemoryPass : lorac::lora::impl::PlanMemoryBase<PlanMemoryPass> {
  using Base::Base;

  llvm::StringMap<int64_t> fixed; // role/label -> offset
  int64_t top = 0;

  int64_t aligned(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

  void runOnOperation() override {
    fixed.clear(), top = 0;
    ModuleOp module = getOperation();
    if (failed(placeRegions()))
      return signalPassFailure();
    // What only inference has lies behind the rest, where a step has its locals.
    llvm::StringSet<> ofInference = inferenceBuffers(module);
    for (auto program : module.getOps<ProgramOp>())
      program.walk([&](BufferOp buffer) {
        if (buffer.getRole() != BufferRole::IO || !ofInference.contains(buffer.getLabel()))
          placeFixed(buffer);
      });
    int64_t persistent = top;
    for (auto program : module.getOps<ProgramOp>())
      program.walk([&](BufferOp buffer) { placeFixed(buffer); });
    int64_t shared = top, peak = top;
    for (auto program : module.getOps<ProgramOp>())
      peak = std::max(peak, placeLocals(program, program.isInference() ? shared : persistent));
    auto first = OpBuilder::atBlockBegin(module.getBody());
    ArenaOp::create(first, module.getLoc(), aligned(peak + 64), persistent);
  }

  // Regions of one order, so that an optimizer is one flat pass; those of parameters and gradients
  // come first, and have the places of each parameter.
  LogicalResult placeRegions() {
    ModuleOp module = getOperation();
    Builder b(module.getContext());
    int64_t count = 0;
    for (ParamOp param : paramsInOrder()) {
      param.setOffset(count);
      count += param.count();
    }
    auto first = OpBuilder::atBlockBegin(module.getBody());
    auto limits = findOnly<LimitsOp>(module);
    const bool isText = limits && limits.getSequences(); // it has no gradients
    for (auto [name, kind, prefix] : {std::tuple("params", RegionRole::Params, "param/"),
                                      std::tuple("grads", RegionRole::Grads, "grad/")}) {
      if (isText && kind == RegionRole::Grads)
        continue;
      place(RegionOp::create(first, module.getLoc(), name, kind, Storage::Floats, count, -1));
      const int64_t begin = fixed[("region/" + Twine(name)).str()];
      for (ParamOp param : module.getOps<ParamOp>())
        fixed[(prefix + param.getSymName()).str()] = begin + 4 * int64_t(*param.getOffset());
      for (StackOp stack : module.getOps<StackOp>())
        fixed[(prefix + stack.getSymName()).str()] =
            fixed[(prefix + cast<FlatSymbolRefAttr>(stack.getParts()[0]).getValue()).str()];
    }
    for (RegionOp region : module.getOps<RegionOp>())
      if (int64_t(region.getOffset()) < 0)
        place(region);
    WalkResult known = module.walk([&](BufferOp buffer) {
      if (buffer.getRole() != BufferRole::Region ||
          fixed.contains(("region/" + buffer.getLabel()).str()))
        return WalkResult::advance();
      buffer.emitOpError("is of the region '") << buffer.getLabel() << "', which none declares";
      return WalkResult::interrupt();
    });
    return failure(known.wasInterrupted());
  }

  // Kernels may read, not write, up to 64 bytes behind a factor.
  void place(RegionOp region) {
    region.setOffset(top);
    fixed[("region/" + region.getSymName()).str()] = top;
    top += aligned(region.bytes() + 64);
  }

  // As declared, but the parts of a stack follow its first part, and E, whose length is a rank,
  // comes behind all others, so that those begin where 16 bytes are one load.
  SmallVector<ParamOp> paramsInOrder() {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    llvm::DenseMap<Attribute, StackOp> begins;
    llvm::DenseSet<Attribute> follows;
    for (StackOp stack : module.getOps<StackOp>()) {
      begins[stack.getParts()[0]] = stack;
      for (Attribute part : stack.getParts().getValue().drop_front())
        follows.insert(part);
    }
    SmallVector<ParamOp> order;
    for (ParamOp param : module.getOps<ParamOp>()) {
      auto symbol = FlatSymbolRefAttr::get(param.getSymNameAttr());
      if (follows.contains(symbol))
        continue;
      order.push_back(param);
      if (StackOp stack = begins.lookup(symbol))
        for (auto part : llvm::drop_begin(stack.getParts().getAsRange<FlatSymbolRefAttr>()))
          order.push_back(symbols.lookup<ParamOp>(part.getValue()));
    }
    std::stable_partition(order.begin(), order.end(),
                          [](ParamOp param) { return !param.is(ParamRole::LoraE); });
    return order;
  }

  void placeFixed(BufferOp buffer) {
    if (buffer.getRole() == BufferRole::Local)
      return;
    auto [entry, isNew] = fixed.try_emplace(
        (stringifyBufferRole(buffer.getRole()) + "/" + buffer.getLabel()).str(), top);
    if (isNew)
      top += aligned(bytesOf(buffer.getMemory().getType()));
    buffer.setOffset(entry->second);
  }

  // Largest first, each at the lowest offset that no overlapping lifetime holds. Returns the
  // function's peak.
  int64_t placeLocals(ProgramOp program, int64_t base) {
    SmallVector<Lifetime> all = lifetimesOf(program);
    SmallVector<Lifetime *> order, placed;
    for (Lifetime &lifetime : all)
      order.push_back(&lifetime);
    llvm::stable_sort(order,
                      [](const Lifetime *x, const Lifetime *y) { return x->bytes > y->bytes; });
    int64_t peak = base;
    for (Lifetime *lifetime : order) {
      SmallVector<Lifetime *> busy;
      for (Lifetime *other : placed)
        if (other->overlaps(*lifetime))
          busy.push_back(other);
      llvm::sort(busy, [](const Lifetime *x, const Lifetime *y) { return x->offset < y->offset; });
      int64_t offset = base;
      for (Lifetime *other : busy) {
        if (offset + lifetime->bytes <= other->offset)
          break;
        offset = std::max(offset, other->offset + other->bytes);
      }
      lifetime->offset = offset;
      lifetime->buffer.setOffset(offset);
      placed.push_back(lifetime);
      peak = std::max(peak, offset + lifetime->bytes);
    }
    return peak;
  }

  SmallVector<Lifetime> lifetimesOf(ProgramOp program) {
    SmallVector<Lifetime> all;
    llvm::DenseMap<Value, unsigned> owner; // memref -> index in all
    int64_t now = 0;
    for (Operation &op : program.front()) {
      if (auto buffer = dyn_cast<BufferOp>(op)) {
        if (buffer.getRole() == BufferRole::Local) {
          owner[buffer.getMemory()] = all.size();
          all.push_back({buffer, aligned(bytesOf(buffer.getMemory().getType())), INT64_MAX, -1});
        }
      } else if (auto slice = dyn_cast<SliceOp>(op)) {
        if (auto found = owner.find(slice.getMemory()); found != owner.end())
          owner[slice.getPart()] = found->second;
      } else if (isa<LaunchOp>(op)) {
        for (Value operand : op.getOperands())
          if (auto found = owner.find(operand); found != owner.end()) {
            Lifetime &lifetime = all[found->second];
            lifetime.first = std::min(lifetime.first, now), lifetime.last = now;
          }
        ++now;
      }
    }
    llvm::erase_if(all, [](const Lifetime &lifetime) { return lifetime.last < 0; });
    return all;
  }
};

} // namespace
