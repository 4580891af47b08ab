// 10-model -> 20-adapted. Stands first: everything after it sees a low-rank update as an op of its
// own. What an adapted linear becomes, its method says (compiler/methods).

#include "compiler/methods/Method.h"
#include "compiler/passes/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace lorac::lora {
#define GEN_PASS_DEF_ATTACHADAPTERS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

struct AttachAdaptersPass : lorac::lora::impl::AttachAdaptersBase<AttachAdaptersPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::MapVector<Attribute, AdapterOp> adapters; // by weight
    llvm::SetVector<const methods::Method *> used;
    for (AdapterOp adapter : module.getOps<AdapterOp>()) {
      const methods::Method *method = methods::methodOf(adapter);
      if (!method) {
        adapter.emitOpError("no method is named '") << *adapter.getMethod() << "'";
        return signalPassFailure();
      }
      used.insert(method);
      if (int64_t(adapter.getRank()) > 0)
        adapters[adapter.getWeightAttr()] = adapter;
    }
    int64_t stream = 0;
    SmallVector<LinearOp> linears;
    module.walk([&](LinearOp op) { linears.push_back(op); });
    for (LinearOp op : linears) {
      auto use = op.getWeight().getDefiningOp<UseOp>();
      auto found = use ? adapters.find(use.getSymbolAttr()) : adapters.end();
      if (found == adapters.end())
        continue;
      attach(op, found->second, stream++);
      adapters.erase(found);
    }
    for (const methods::Method *method : used)
      if (method->addPrograms)
        method->addPrograms(module);
    for (auto &[weight, adapter] : adapters) {
      emitError(adapter.getLoc()) << "no linear of the model is named '" << adapter.getSymName()
                                  << "'";
      signalPassFailure();
    }
  }

  // Who read the linear's result reads what its method makes of it.
  static void attach(LinearOp op, AdapterOp adapter, int64_t stream) {
    SmallVector<OpOperand *> readers;
    for (OpOperand &use : op.getY().getUses())
      readers.push_back(&use);
    methods::Site site(op, adapter, stream);
    Value adapted = methods::methodOf(adapter)->rewrite(site);
    for (OpOperand *reader : readers)
      reader->set(adapted);
    if (op.getY().use_empty())
      op.erase();
  }
};

} // namespace
