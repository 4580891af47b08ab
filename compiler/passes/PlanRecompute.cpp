// What the backward pass computes again instead of keeping. After FuseKernels, when a linear with
// its update and its sum is one op; before FuseEpilogues, which would hide maps and ropes in
// kernels.

#include "compiler/passes/Passes.h"
#include "compiler/passes/recompute/RecomputePlanner.h"
#include "compiler/passes/select/HeadRows.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

namespace lorac::lora {
#define GEN_PASS_DEF_PLANRECOMPUTE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct PlanRecomputePass : lorac::lora::impl::PlanRecomputeBase<PlanRecomputePass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto train = module.lookupSymbol<ProgramOp>("train");
    if (!train || train.getOps<CrossEntropyBackwardOp>().empty())
      return;
    const bool isDevice = device == "cuda";
    StepTarget target;
    auto limits = findOnly<LimitsOp>(module);
    if (limits)
      target.tokens = limits.getTokens(), target.length = limits.getLength();
    if (isDevice)
      target.elementBytes = 2, target.alignment = 256, target.isDevice = true;
    StepModel model(train, target);
    const int64_t headRows = chooseHeadRows(model.vocab, target.tokens, isDevice);
    RecomputePlanner planner(model, headRows, leastHeadRows(isDevice));
    RecomputeChoice choice = planner.choose(memory);
    if (limits && choice.headRows != headRows)
      limits.setHeadRows(choice.headRows);
    describe(model, choice, planner.keptBytes(choice.again));
    repeat(train, model, choice);
  }

  // Clones in front of the ops that need them first, in the order of the forward pass. Names of
  // buffers (views, columns) come again for all that stands behind the loss, so that the forward
  // pass has its own.
  void repeat(ProgramOp train, const StepModel &model, const RecomputeChoice &choice) {
    Operation *border = model.ops[model.border].op;
    llvm::DenseMap<Operation *, Operation *> places; // of clones: in front of which op
    SmallVector<unsigned> indices = model.placesOf(choice.again);
    for (unsigned i : choice.again.set_bits())
      if (indices[i] != StepModel::none)
        places[model.ops[i].op] = model.ops[indices[i]].op;
    llvm::DenseMap<Operation *, SmallVector<Operation *>> clones;
    SmallVector<Operation *> forward;
    for (Operation &op : train.front()) {
      if (&op == border)
        break;
      forward.push_back(&op);
    }
    for (Operation *op : llvm::reverse(forward)) {
      Operation *place =
          isa<ViewOp, ColumnsOp>(op) ? firstNeed(op, border, places) : places.lookup(op);
      if (!place)
        continue;
      places[op] = place;
      clones[place].push_back(op);
    }
    IRMapping again;
    OpBuilder b(train);
    for (Operation *op = border->getNextNode(); op; op = op->getNextNode()) {
      b.setInsertionPoint(op);
      const SmallVector<Operation *> here = clones.lookup(op);
      for (Operation *original : llvm::reverse(here)) {
        Operation *clone = b.clone(*original, again);
        if (!isa<ViewOp, ColumnsOp>(original))
          clone->setAttr("recompute", b.getUnitAttr());
      }
      for (OpOperand &operand : op->getOpOperands())
        operand.set(again.lookupOrDefault(operand.get()));
    }
  }

  // The first op behind the loss that reads a result, itself or by a clone.
  static Operation *firstNeed(Operation *op, Operation *border,
                              const llvm::DenseMap<Operation *, Operation *> &places) {
    Operation *first = nullptr;
    for (Operation *user : op->getUsers()) {
      Operation *place = border->isBeforeInBlock(user) ? user : places.lookup(user);
      if (place && (!first || place->isBeforeInBlock(first)))
        first = place;
    }
    return first;
  }

  // For readers of the dumps and of plan.md: by layers, neighbours that are alike as one.
  void describe(const StepModel &model, const RecomputeChoice &choice, ArrayRef<int64_t> kept) {
    struct Layer {
      int64_t kept = 0, flops = 0;
      llvm::SetVector<Attribute> again;
      bool operator==(const Layer &other) const {
        return kept == other.kept && flops == other.flops &&
               again.getArrayRef() == other.again.getArrayRef();
      }
    };
    llvm::MapVector<int, Layer> layers;
    int64_t flops = 0, bytes = 0;
    for (auto [i, op] : llvm::enumerate(ArrayRef(model.ops).take_front(model.border))) {
      Layer &layer = layers[op.layer];
      layer.kept += kept[i], bytes += kept[i];
      if (!choice.again[i])
        continue;
      layer.flops += op.flops, flops += op.flops;
      layer.again.insert(StringAttr::get(&getContext(), shortName(op.op)));
    }
    auto b = OpBuilder::atBlockBegin(getOperation().getBody());
    const Location loc = getOperation().getLoc();
    auto recompute =
        RecomputeOp::create(b, loc, bytes, flops, choice.peak, choice.evaluations, choice.isLeast);
    b.createBlock(&recompute.getLayers());
    for (auto *run = layers.begin(); run != layers.end();) {
      auto *end = run;
      while (end != layers.end() && end->second == run->second)
        ++end;
      LayersOp::create(b, loc, run->first, std::prev(end)->first, run->second.kept,
                       run->second.flops, b.getArrayAttr(run->second.again.getArrayRef()));
      run = end;
    }
  }

  // `q_proj` of model.layers.0.self_attn.q_proj; the kind of an op that has no name.
  static std::string shortName(Operation *op) {
    auto named = dyn_cast<NameLoc>(op->getLoc());
    StringRef name = named ? named.getName().strref().rsplit('.').second : StringRef();
    if (named && name.empty())
      name = named.getName().strref();
    if (name.empty())
      return op->getName().stripDialect().str();
    return isa<MatmulOp>(op) ? (name + "'s t").str() : name.str();
  }
};

} // namespace
