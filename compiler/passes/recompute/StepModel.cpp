#include "compiler/passes/recompute/StepModel.h"

using namespace mlir;
using namespace lorac::lora;

static bool isName(Operation *op) { return isa<ViewOp, ColumnsOp, UseOp>(op); }

static ConcatOp concatOf(Value value) {
  for (Operation *user : value.getUsers())
    if (auto concat = dyn_cast<ConcatOp>(user))
      return concat;
  return {};
}

// A value that has no buffer of its own: columns of another, or one that lies beside others.
static bool isInColumns(Value value) {
  while (auto view = value.getDefiningOp<ViewOp>())
    value = view.getX();
  return value.getDefiningOp<ColumnsOp>() || concatOf(value);
}

static bool isReturned(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) { return isa<ReturnOp>(user); });
}

static int64_t width(Value value) { return columns(cast<RankedTensorType>(value.getType())); }

Value lorac::lora::storageOf(Value value) {
  while (true)
    if (auto view = value.getDefiningOp<ViewOp>())
      value = view.getX();
    else if (auto part = value.getDefiningOp<ColumnsOp>())
      value = part.getX();
    else if (ConcatOp concat = concatOf(value))
      value = concat.getY();
    else
      return value;
}

// The layer of the weight that the op reads, or of the weight that its factor adapts.
static int layerOf(Operation *op, SymbolTable &symbols) {
  for (Value operand : op->getOperands()) {
    auto use = operand.getDefiningOp<UseOp>();
    Operation *symbol = use ? symbols.lookup(use.getSymbol()) : nullptr;
    while (auto stack = dyn_cast_or_null<StackOp>(symbol))
      symbol = symbols.lookup(cast<FlatSymbolRefAttr>(stack.getParts()[0]).getValue());
    if (auto param = dyn_cast_or_null<ParamOp>(symbol); param && param.getAdapter()) {
      auto adapter = symbols.lookup<AdapterOp>(*param.getAdapter());
      symbol = adapter ? symbols.lookup(adapter.getWeight()) : nullptr;
    }
    if (auto frozen = dyn_cast_or_null<FrozenOp>(symbol); frozen && frozen.getLayer())
      return int(*frozen.getLayer());
  }
  return -1;
}

int64_t StepModel::aligned(int64_t bytes) const {
  return (bytes + target.alignment - 1) / target.alignment * target.alignment;
}

// As SelectKernels places it: padded rows of activations, dense and 32-bit where a kernel wants
// that; nothing for what has a place of its own.
int64_t StepModel::bytesOf(Value value) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || isReturned(value))
    return 0;
  if (!type.isDynamicDim(0)) {
    bool isGradient = llvm::any_of(value.getUsers(), llvm::IsaPred<GradientOp>);
    return isGradient ? 0 : aligned(4 * type.getNumElements());
  }
  auto attention = value.getDefiningOp<AttentionOp>();
  bool isLse = attention && attention.getLse() == value;
  return aligned(target.tokens * (isLse ? 4 : target.elementBytes) *
                 leadingDimension(columns(type)));
}

// A product counts its multiply-adds, everything else a few operations an element.
int64_t StepModel::flopsOf(Operation *op) const {
  auto product = [&](Value weight, Value t) {
    auto shape = cast<WeightType>(weight.getType()).getShape();
    return 2 * target.tokens * shape[0] * (shape[1] + (t ? width(t) : 0));
  };
  if (isa<RmsNormOp, MapOp, DropoutOp, RopeOp, EmbedOp>(op))
    return target.tokens * 8 * width(op->getResult(0));
  if (auto linear = dyn_cast<AdaptedLinearOp>(op))
    return product(linear.getWeight(), linear.getT());
  if (auto linear = dyn_cast<LinearOp>(op))
    return product(linear.getWeight(), Value());
  if (auto small = dyn_cast<MatmulOp>(op);
      small && small.getKind() == ProductKind::NT &&
      cast<RankedTensorType>(small.getC().getType()).isDynamicDim(0))
    return 2 * target.tokens * width(small.getC()) * width(small.getA());
  if (auto attention = dyn_cast<AttentionOp>(op))
    return 2 * target.tokens * target.length * width(attention.getO());
  return -1;
}

unsigned StepModel::bufferFor(Value value) {
  Value root = storageOf(value);
  auto [entry, isNew] = bufferOf.try_emplace(root, buffers.size());
  if (isNew)
    buffers.push_back({root, root.getDefiningOp() ? bytesOf(root) : 0, -1});
  return entry->second;
}

StepModel::StepModel(ProgramOp train, const StepTarget &target) : target(target) {
  SymbolTable symbols(train->getParentOfType<ModuleOp>());
  int layer = -1; // of an op that reads no weight: of the op before it
  for (Operation &op : train.front()) {
    if (isName(&op) || isa<ConcatOp, GradientOp, ReturnOp>(op))
      continue;
    addOp(&op);
    if (int own = layerOf(&op, symbols); own >= 0)
      layer = own;
    ops.back().layer = layer;
  }
  isLayerInput.resize(buffers.size());
  for (unsigned i = 0; i < border; ++i)
    for (unsigned read : ops[i].reads)
      if (int writer = buffers[read].writer; writer >= 0 && ops[writer].layer != ops[i].layer)
        isLayerInput.set(read);
}

void StepModel::addOp(Operation *op) {
  StepOp entry;
  entry.op = op;
  for (Value operand : op->getOperands())
    if (isa<RankedTensorType>(operand.getType()))
      entry.reads.push_back(bufferFor(operand));
  for (Value result : op->getResults()) {
    entry.writes.push_back(bufferFor(result));
    if (StepBuffer &buffer = buffers[entry.writes.back()]; buffer.writer < 0)
      buffer.writer = int(ops.size());
  }
  entry.flops = flopsOf(op);
  entry.isCheap = isa<RmsNormOp, MapOp, DropoutOp>(op);
  auto asMap = dyn_cast<MapOp>(op);
  entry.isEpilogue = isa<RopeOp>(op) || (asMap && !asMap.hasRows());
  if (auto linear = dyn_cast<AdaptedLinearOp>(op))
    entry.takesEpilogue = !linear.getResidual();
  if (auto linear = dyn_cast<AdaptedLinearBackwardOp>(op))
    entry.takesEpilogue = !linear.getOnto();
  if (auto loss = dyn_cast<CrossEntropyBackwardOp>(op)) {
    border = unsigned(ops.size());
    vocab = cast<WeightType>(loss.getWeight().getType()).getShape()[0];
  }
  if (auto attention = dyn_cast<AttentionBackwardOp>(op); attention && target.isDevice)
    entry.temporary = aligned(target.tokens * 4 * 4 * width(attention.getLse()));
  findOver(entry);
  ops.push_back(std::move(entry));
}

// The pairs that BufferPlacement::over() and a map's outputs would take, if the operand dies.
void StepModel::findOver(StepOp &entry) {
  auto allow = [&](Value result, Value operand, bool once) {
    unsigned read = bufferFor(operand), write = bufferFor(result);
    if (isa<BlockArgument>(storageOf(operand)) || isInColumns(operand) || isInColumns(result) ||
        isReturned(result) || (once && width(operand) != width(result)) ||
        (once && llvm::count(entry.reads, read) != 1))
      return;
    entry.over.push_back({write, read});
  };
  Operation *op = entry.op;
  if (auto rope = dyn_cast<RopeOp>(op))
    allow(rope.getY(), rope.getX(), true);
  else if (auto term = dyn_cast<OrthogonalTermOp>(op))
    allow(term.getGradient(), term.getGram(), true);
  else if (auto linear = dyn_cast<AdaptedLinearOp>(op); linear && linear.getResidual())
    allow(linear.getY(), linear.getResidual(), true);
  else if (auto linear = dyn_cast<AdaptedLinearBackwardOp>(op); linear && linear.getOnto())
    allow(linear.getDx(), linear.getOnto(), true);
  else if (auto norm = dyn_cast<RmsNormBackwardOp>(op); norm && norm.getOnto())
    allow(norm.getDx(), norm.getOnto(), true);
  else if (auto map = dyn_cast<MapOp>(op))
    for (Value output : map.getOutputs())
      for (Value input : map.getInputs())
        if (!map.isRow(input))
          allow(output, input, false);
}

bool StepModel::entersLayer(unsigned op) const {
  bool readsActivations =
      llvm::any_of(ops[op].reads, [&](unsigned read) { return buffers[read].writer >= 0; });
  return readsActivations &&
         llvm::any_of(ops[op].writes, [&](unsigned write) { return isLayerInput[write]; });
}

int64_t StepModel::logitBytes(int64_t rows) const {
  int64_t elements = rows * leadingDimension(vocab);
  return aligned(4 * elements) +
         (target.elementBytes < 4 ? aligned(target.elementBytes * elements) : 0);
}

SmallVector<unsigned> StepModel::placesOf(const llvm::BitVector &again) const {
  SmallVector<unsigned> places(ops.size(), none);
  for (unsigned i = ops.size(); i-- > 0;) {
    unsigned at = i > border ? i : i < border && again[i] ? places[i] : none;
    if (at == none)
      continue;
    for (unsigned read : ops[i].reads)
      if (int writer = buffers[read].writer; isForward(writer) && again[writer])
        places[writer] = std::min(places[writer], at);
  }
  return places;
}

namespace {

// One pass over a step in which some ops come again. A buffer is there twice where its writer does.
class Simulation {
public:
  Simulation(const StepModel &model, const llvm::BitVector &again, bool hasEpilogues)
      : model(model), again(again), count(model.buffers.size()), instances(2 * count) {
    placeSteps();
    findUses();
    if (hasEpilogues)
      findEpilogues();
  }

  StepPeak run() {
    StepPeak peak;
    int64_t live = 0;
    SmallVector<unsigned> ended;
    for (auto [now, step] : llvm::enumerate(steps)) {
      const StepOp &op = model.ops[step.op];
      ended.clear();
      for (unsigned read : op.reads)
        if (unsigned id = idOf(step, read); instances[id].last == now && instances[id].isLive)
          ended.push_back(id);
      llvm::SmallDenseSet<unsigned, 4> taken;
      for (unsigned write : op.writes) {
        Instance &result = instances[ownId(step, write)];
        if (result.isLive || result.inRegisters)
          continue;
        result.isLive = true;
        if (!takesOver(step, op, write, now, taken))
          live += model.buffers[write].bytes;
        if (result.last < now || result.last == never)
          ended.push_back(ownId(step, write));
      }
      (step.op == model.border ? peak.atLoss : peak.elsewhere) =
          std::max(step.op == model.border ? peak.atLoss : peak.elsewhere, live + op.temporary);
      for (unsigned id : ended)
        if (instances[id].isLive) {
          instances[id].isLive = false;
          if (!taken.contains(id))
            live -= model.buffers[id % count].bytes;
        }
    }
    return peak;
  }

private:
  static constexpr size_t never = ~size_t(0);
  struct Step {
    unsigned op;
    bool isAgain;
  };
  struct Instance {
    size_t first = never, last = never;
    unsigned readers = 0;
    size_t reader = never; // the first
    bool isLive = false, inRegisters = false;
  };

  const StepModel &model;
  const llvm::BitVector &again;
  unsigned count;
  SmallVector<Step> steps;
  SmallVector<Instance> instances;

  unsigned ownId(const Step &step, unsigned buffer) const {
    return step.isAgain ? buffer + count : buffer;
  }
  unsigned idOf(const Step &step, unsigned buffer) const {
    int writer = model.buffers[buffer].writer;
    bool isLater = step.isAgain || step.op > model.border;
    return isLater && model.isForward(writer) && again[writer] ? buffer + count : buffer;
  }

  void placeSteps() {
    SmallVector<unsigned> places = model.placesOf(again);
    SmallVector<std::pair<unsigned, unsigned>> clones; // place, op
    for (unsigned i : again.set_bits())
      if (places[i] != StepModel::none)
        clones.push_back({places[i], i});
    llvm::sort(clones);
    auto *next = clones.begin();
    for (unsigned i = 0; i < model.ops.size(); ++i) {
      for (; next != clones.end() && next->first == i; ++next)
        steps.push_back({next->second, true});
      steps.push_back({i, false});
    }
  }

  void findUses() {
    for (auto [now, step] : llvm::enumerate(steps)) {
      for (unsigned write : model.ops[step.op].writes)
        if (Instance &result = instances[ownId(step, write)]; result.first == never)
          result.first = now;
      for (unsigned read : model.ops[step.op].reads) {
        Instance &value = instances[idOf(step, read)];
        if (value.last != now)
          ++value.readers;
        value.reader = std::min(value.reader, now);
        value.last = now;
      }
    }
  }

  // A product whose one reader joins its kernel never lies in memory.
  void findEpilogues() {
    for (auto [now, step] : llvm::enumerate(steps)) {
      if (!model.ops[step.op].takesEpilogue)
        continue;
      unsigned id = ownId(step, model.ops[step.op].writes.front());
      Instance &product = instances[id];
      if (product.readers != 1)
        continue;
      const Step &reader = steps[product.reader];
      const StepOp &epilogue = model.ops[reader.op];
      if (!epilogue.isEpilogue || (reader.isAgain && !step.isAgain))
        continue;
      product.inRegisters = llvm::all_of(epilogue.reads, [&, at = now](unsigned read) {
        unsigned other = idOf(reader, read);
        return other == id || instances[other].first == never || instances[other].first < at;
      });
    }
  }

  bool takesOver(const Step &step, const StepOp &op, unsigned write, size_t now,
                 llvm::SmallDenseSet<unsigned, 4> &taken) {
    for (const StepOp::Over &over : op.over) {
      if (over.write != write)
        continue;
      unsigned id = idOf(step, over.read);
      if (instances[id].last == now && instances[id].isLive && taken.insert(id).second)
        return true;
    }
    return false;
  }
};

} // namespace

StepPeak StepModel::peak(const llvm::BitVector &again) const {
  return Simulation(*this, again, target.isDevice).run();
}
