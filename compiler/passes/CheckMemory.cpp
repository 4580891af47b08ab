// After PlanMemory: no two buffers that are in use at once lie over each other. It asks the
// launches anew, so that a fault of the planner becomes an error and not other numbers.

#include "compiler/passes/InferenceBuffers.h"
#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>

namespace lorac::lora {
#define GEN_PASS_DEF_CHECKMEMORY
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct Span {
  int64_t begin, end;
  std::string name;
};

Span spanOf(BufferOp buffer) {
  auto type = cast<MemRefType>(buffer.getMemory().getType());
  const int64_t begin = buffer.getOffset(),
                bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  return {begin, begin + bytes, buffer.getLabel().str()};
}

BufferOp bufferOf(Value memory) {
  while (auto slice = memory.getDefiningOp<SliceOp>())
    memory = slice.getMemory();
  return memory.getDefiningOp<BufferOp>();
}

/// Spans in use, none over another.
class InUse {
public:
  /// The one that lies where `span` does; null: none, and `span` is in use now.
  const Span *add(const Span &span) {
    auto next = spans.lower_bound(span.begin);
    if (next != spans.end() && next->second.begin < span.end)
      return &next->second;
    if (next != spans.begin() && std::prev(next)->second.end > span.begin)
      return &std::prev(next)->second;
    spans.emplace(span.begin, span);
    return nullptr;
  }
  void remove(const Span &span) { spans.erase(span.begin); }

private:
  std::map<int64_t, Span> spans;
};

struct CheckMemoryPass : lorac::lora::impl::CheckMemoryBase<CheckMemoryPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto arena = module->getAttrOfType<DictionaryAttr>("lora.arena");
    if (!arena) {
      module.emitError("needs the attribute 'lora.arena'");
      return signalPassFailure();
    }
    const int64_t bytes = arena.getAs<IntegerAttr>("bytes").getInt();
    llvm::StringSet<> ofInference = inferenceBuffers(module);
    InUse always;
    for (RegionOp region : module.getOps<RegionOp>())
      if (const int64_t begin = region.getOffset(), end = begin + region.bytes(); begin < end)
        if (const Span *other = always.add({begin, end, region.getSymName().str()})) {
          module.emitError("'") << region.getSymName() << "' lies over '" << other->name
                                << "' in the arena, both in use throughout";
          return signalPassFailure();
        }
    if (failed(addFixed(module, always, [&](BufferOp buffer) {
          return buffer.getRole() == BufferRole::Table ||
                 (buffer.getRole() == BufferRole::IO && !ofInference.contains(buffer.getLabel()));
        })))
      return signalPassFailure();
    InUse inInference = always;
    if (failed(addFixed(module, inInference, [&](BufferOp buffer) {
          return buffer.getRole() == BufferRole::IO && ofInference.contains(buffer.getLabel());
        })))
      return signalPassFailure();
    for (auto func : module.getOps<func::FuncOp>())
      if (failed(check(func, isInference(func) ? inInference : always, bytes)))
        return signalPassFailure();
  }

  // What the runtime knows by name: in use throughout, or in all programs of inference.
  LogicalResult addFixed(ModuleOp module, InUse &always,
                         llvm::function_ref<bool(BufferOp)> isFixed) {
    std::map<std::string, Span> fixed;
    module.walk([&](BufferOp buffer) {
      if (isFixed(buffer))
        fixed[(stringifyBufferRole(buffer.getRole()) + "/" + buffer.getLabel()).str()] =
            spanOf(buffer);
    });
    for (auto &[name, span] : fixed)
      if (const Span *other = always.add(span))
        return module.emitError("'") << name << "' lies over '" << other->name
                                     << "' in the arena, both in use throughout";
    return success();
  }

  LogicalResult check(func::FuncOp func, const InUse &always, int64_t bytes) {
    struct Use {
      int64_t first, last;
    };
    llvm::MapVector<Operation *, Use> uses;
    int64_t launches = 0;
    for (LaunchOp launch : func.getOps<LaunchOp>()) {
      for (Value operand : launch.getBuffers())
        if (BufferOp buffer = isa<MemRefType>(operand.getType()) ? bufferOf(operand) : BufferOp();
            buffer && buffer.getRole() == BufferRole::Local) {
          auto [use, isNew] = uses.try_emplace(buffer, Use{launches, launches});
          use->second.last = launches;
        }
      ++launches;
    }
    std::vector<std::vector<BufferOp>> begins(launches), ends(launches);
    for (auto &[op, use] : uses) {
      begins[use.first].push_back(cast<BufferOp>(op));
      ends[use.last].push_back(cast<BufferOp>(op));
    }
    InUse now = always;
    for (int64_t at = 0; at < launches; ++at) {
      for (BufferOp buffer : begins[at]) {
        const Span span = spanOf(buffer);
        if (span.begin < 0 || span.end > bytes)
          return buffer.emitOpError("ends at ")
                 << span.end << ", outside of the arena of " << bytes << " bytes";
        if (const Span *other = now.add(span))
          return buffer.emitOpError("at ")
                 << span.begin << " to " << span.end << " lies over '" << other->name << "' at "
                 << other->begin << " to " << other->end << ", which is in use at the same time";
      }
      for (BufferOp buffer : ends[at])
        now.remove(spanOf(buffer));
    }
    return success();
  }
};

} // namespace
