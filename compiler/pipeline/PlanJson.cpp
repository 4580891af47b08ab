// 50-planned as plan.json: its plan, which runtime/train writes.

#include "compiler/pipeline/PlanJson.h"
#include "compiler/codegen/cpu/Target.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/frontend/Locations.h"
#include "compiler/pipeline/KernelArguments.h"
#include "compiler/pipeline/WeightParts.h"
#include "runtime/train/Plan.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

/// The runtime's value of what the dialect calls so: both have the same words.
template <typename To>
To sameWord(StringRef word) {
  std::optional<To> known = train::fromPlanWord<To>(word);
  assert(known && "the runtime has the dialect's words");
  return *known;
}

class PlanBuilder {
public:
  PlanBuilder(ModuleOp module, const PlanTarget &target,
              const llvm::StringMap<KernelArguments> &arguments)
      : module(module), target(target), arguments(arguments) {}

  train::Plan build(const dsl::Spec &spec, std::vector<std::string> features) {
    plan.version = LORAC_VERSION;
    plan.spec = spec.name;
    plan.device = target.isCuda() ? "cuda" : "cpu";
    plan.compute = target.compute;
    plan.cpu = target.cpu;
    plan.features = std::move(features);
    for (const std::string &arch : target.archs)
      plan.archs.push_back({arch});
    addModel();
    addWeights();
    addParams();
    addRanks();
    addArena();
    addBuffers();
    addOptimizer(spec.optimizer);
    addKernels();
    addPrograms();
    return std::move(plan);
  }

private:
  ModuleOp module;
  PlanTarget target;
  const llvm::StringMap<KernelArguments> &arguments;
  llvm::StringMap<int32_t> weightIndex, kernelIndex;
  train::Plan plan;

  WeightLayout layout() { return target.isCuda() ? WeightLayout::Rows : WeightLayout::Panels; }

  void addModel() {
    auto limits = findOnly<LimitsOp>(module);
    plan.isText = limits.getSequences().has_value();
    plan.maxTokens = int64_t(limits.getTokens()), plan.maxSegments = limits.segments();
    plan.maxLength = int64_t(limits.getLength());
    plan.headRows = int64_t(*limits.getHeadRows());
    auto model = findOnly<ModelOp>(module);
    plan.architecture = model.getArchitecture().str();
    for (NamedAttribute entry : model.getHyper())
      if (auto whole = dyn_cast<IntegerAttr>(entry.getValue()))
        plan.hyper.emplace_back(entry.getName().str(), double(whole.getInt()));
      else
        plan.hyper.emplace_back(entry.getName().str(),
                                cast<FloatAttr>(entry.getValue()).getValueAsDouble());
    if (auto vocab = model.getHyper().getAs<IntegerAttr>("vocab_size"))
      plan.vocab = vocab.getInt();
  }

  void addWeights() {
    for (FrozenOp op : module.getOps<FrozenOp>()) {
      weightIndex[op.getSymName()] = int32_t(plan.weights.size());
      auto type = cast<WeightType>(op.getType());
      train::PlanWeight &weight = plan.weights.emplace_back();
      weight.name = op.getSymName().str();
      weight.gguf = op.getGguf().value_or("").str();
      weight.kind = op.getKind().value_or("").str();
      weight.shape = type.getShape().vec();
      weight.format = toString(type.getFormat());
      weight.permuteHeads = int64_t(op.getPermuteHeads().value_or(0));
      if (op.getHfAdd())
        weight.hfAdd = op.getHfAdd()->convertToDouble();
      for (const WeightPart &part : weightParts(type, layout()))
        weight.parts.push_back({part.name, part.bytes});
    }
  }

  void addParams() {
    for (ParamOp op : module.getOps<ParamOp>()) {
      auto adapter = module.lookupSymbol<AdapterOp>(op.getAdapterAttr());
      train::PlanParam &param = plan.params.emplace_back();
      param.name = op.getSymName().str();
      param.module = adapter.getSymName().str();
      param.part = *formats::parseAdapterPart(stringifyParamRole(*op.getRole()));
      param.shape = cast<RankedTensorType>(op.getType()).getShape().vec();
      param.offset = int64_t(*op.getOffset());
      param.rank = int64_t(adapter.getRank());
      param.scale = adapter.getScale().convertToDouble();
    }
  }

  // AdaLoRA: budgets, and each module's bounds.
  void addRanks() {
    for (AdaLoraOp adalora : module.getOps<AdaLoraOp>()) {
      train::PlanRanks &ranks = plan.ranks.emplace();
      ranks.initial = int64_t(adalora.getInitial());
      ranks.target = int64_t(adalora.getTarget());
      for (AdapterOp adapter : module.getOps<AdapterOp>()) {
        ArrayRef<int64_t> falls = *adapter.getFalls();
        ranks.modules.push_back({adapter.getSymName().str(), falls[0], falls[1], falls[2]});
      }
    }
  }

  void addArena() {
    auto arena = findOnly<ArenaOp>(module);
    plan.arenaBytes = int64_t(arena.getBytes());
    plan.persistentBytes = int64_t(arena.getPersistent());
    for (KernelOp kernel : module.getOps<KernelOp>())
      plan.scratchBytes = std::max(plan.scratchBytes, int64_t(kernel.getScratch()));
    for (RegionOp region : module.getOps<RegionOp>())
      plan.regions.push_back({region.getSymName().str(),
                              sameWord<train::RegionKind>(stringifyRegionRole(region.getRole())),
                              int64_t(region.getOffset()), int64_t(region.getCount()),
                              sameWord<train::Storage>(stringifyStorage(region.getStorage()))});
  }

  // What the runtime itself writes or reads.
  void addBuffers() {
    std::map<std::string, BufferOp> io, tables;
    module.walk([&](BufferOp buffer) {
      if (buffer.getRole() == BufferRole::IO)
        io.try_emplace(buffer.getLabel().str(), buffer);
      if (buffer.getRole() == BufferRole::Table)
        tables.try_emplace(buffer.getLabel().str(), buffer);
    });
    for (const train::PlaceOfIo &place : train::placesOfIo) {
      auto found = io.find(place.name); // a plan that lacks one is refused for its -1
      plan.io.*place.at = found == io.end() ? -1 : int64_t(found->second.getOffset());
    }
    for (auto &[name, buffer] : tables) {
      auto shape = cast<MemRefType>(buffer.getMemory().getType()).getShape();
      train::PlanTable &table = plan.tables.emplace_back();
      table.kind = train::dynamic8Table;
      table.offset = int64_t(buffer.getOffset());
      table.positions = shape[0], table.dim = shape[1];
      if (auto frequencies = buffer.getFrequenciesAttr()) {
        auto rope = module.lookupSymbol<FrequenciesOp>(frequencies);
        table.kind = train::ropeTable;
        table.factor = rope.getFactor().convertToFloat();
        table.frequencies = rope.getInverse().vec();
      }
    }
  }

  void addOptimizer(const dsl::OptimizerSpec &spec) {
    if (auto update = module.lookupSymbol<ProgramOp>("update")) {
      train::PlanOptimizer &optimizer = plan.optimizer.emplace();
      optimizer.name = toString(*spec.name);
      optimizer.min8bitSize = std::max<int64_t>(*spec.min8bitSize, 0);
      plan.updateScalars = scalarsOf(update);
    }
    if (auto importance = module.lookupSymbol<ProgramOp>("importance"))
      plan.importanceScalars = scalarsOf(importance);
  }

  // What the host computes before each run of a program, in the io buffer of its name.
  train::PlanScalars scalarsOf(ProgramOp program) {
    train::PlanScalars scalars;
    for (BufferOp buffer : program.getOps<BufferOp>())
      if (buffer.getRole() == BufferRole::IO && buffer.getLabel() == program.getName())
        scalars.floats = cast<MemRefType>(buffer.getMemory().getType()).getNumElements();
    for (ScalarOp op : program.getOps<ScalarOp>()) {
      train::PlanScalar &scalar = scalars.list.emplace_back();
      scalar.name = op.getLabel().str();
      scalar.at = int64_t(op.getAt());
      scalar.byGroup = int64_t(op.getByGroup().value_or(0));
      for (Attribute term : op.getFormula())
        if (auto word = dyn_cast<StringAttr>(term))
          scalar.formula.add(std::string_view(word.getValue())); // scalar_c1: there is such a word
        else
          scalar.formula.add(cast<FloatAttr>(term).getValueAsDouble());
    }
    return scalars;
  }

  void addKernels() {
    for (KernelOp op : module.getOps<KernelOp>()) {
      kernelIndex[op.getSymName()] = int32_t(plan.kernels.size());
      const KernelArguments taken = arguments.lookup(op.getSymName());
      train::PlanKernel &kernel = plan.kernels.emplace_back();
      kernel.name = op.getSymName().str();
      kernel.family = op.getFamily().str();
      kernel.buffers = taken.buffers;
      kernel.mostScalar = taken.mostScalar;
      kernel.tiles = {sameWord<train::PlanTiles::Space>(stringifyTileSpace(op.getSpace())),
                      int64_t(op.getTile()), int64_t(op.getCount())};
      kernel.scratch = int64_t(op.getScratch());
      if (!target.isCuda())
        continue;
      Operation *function = target.kernels.lookupSymbol(op.getSymName());
      kernel.threads = function->getAttrOfType<IntegerAttr>("cuda.threads").getInt();
      kernel.shared = function->getAttrOfType<IntegerAttr>("cuda.shared").getInt();
    }
  }

  void addPrograms() {
    for (const train::ProgramOfPlan &of : train::programsOfPlan)
      if (auto program = module.lookupSymbol<ProgramOp>(of.name))
        for (LaunchOp launch : program.getOps<LaunchOp>())
          (plan.*of.launches).push_back(launchOf(launch));
  }

  train::PlanLaunch launchOf(LaunchOp op) {
    train::PlanLaunch launch;
    launch.kernel = kernelIndex.lookup(op.getKernel());
    for (Value operand : op.getBuffers())
      addArgs(operand, launch.args);
    launch.rowBegin = int64_t(op.getBegin()), launch.rowCount = int64_t(op.getCount());
    if (auto scalars = op.getScalars())
      launch.scalars.assign(scalars->begin(), scalars->end());
    launch.fixedRows = op.getFixed();
    if (!target.isCuda())
      launch.tiles = tilesOf(op);
    if (auto grid = op.getGrid())
      llvm::copy(*grid, launch.grid.begin());
    launch.flops = double(int64_t(op.getFlops()));
    launch.bytes = double(leastBytes(op));
    launch.op = nameOf(op.getLoc());
    launch.loc = placeOf(op.getLoc());
    return launch;
  }

  // All tiles of the launch; those of a sample where they are counted by samples.
  int64_t tilesOf(LaunchOp launch) {
    auto kernel = module.lookupSymbol<KernelOp>(launch.getKernel());
    return kernel.getSpace() == TileSpace::Rows
               ? llvm::divideCeil(uint64_t(launch.getCount()), uint64_t(kernel.getTile()))
               : int64_t(kernel.getCount());
  }

  // Each operand once, with the rows that the launch goes over; of an embedding as many rows.
  int64_t leastBytes(LaunchOp launch) {
    bool picksRows = module.lookupSymbol<KernelOp>(launch.getKernel()).getFamily() == "embed";
    int64_t bytes = 0;
    for (Value operand : launch.getBuffers())
      if (auto type = dyn_cast<WeightType>(operand.getType())) {
        int64_t rows = type.getShape()[0],
                read = picksRows ? std::min<int64_t>(rows, launch.getCount()) : rows;
        bytes += weightBytes(type, layout()) / rows * read;
      } else {
        auto memory = cast<MemRefType>(operand.getType());
        int64_t rows = memory.getDimSize(0), whole = memory.getNumElements();
        if (!launch.getFixed() && rows > int64_t(launch.getCount()))
          whole = whole / rows * int64_t(launch.getCount());
        bytes += whole * memory.getElementTypeBitWidth() / 8;
      }
    return bytes;
  }

  void addArgs(Value operand, std::vector<train::PlanArg> &args) {
    if (auto type = dyn_cast<WeightType>(operand.getType())) {
      const int32_t index = weightIndex.lookup(operand.getDefiningOp<UseOp>().getSymbol());
      for (size_t part = 0, n = weightParts(type, layout()).size(); part < n; ++part)
        args.push_back({0, index, int32_t(part)});
      return;
    }
    int64_t offset = 0;
    while (auto slice = operand.getDefiningOp<SliceOp>()) {
      offset += slice.getDelta();
      operand = slice.getMemory();
    }
    args.push_back({offset + int64_t(operand.getDefiningOp<BufferOp>().getOffset())});
  }
};

} // namespace

FailureOr<std::string> lorac::planJson(ModuleOp module, const dsl::Spec &spec,
                                       const PlanTarget &target) {
  PlanTarget described = target;
  std::vector<std::string> features;
  if (!target.isCuda()) {
    llvm::Expected<cpu::CpuTarget> cpu = cpu::CpuTarget::get(target.cpu);
    if (!cpu) {
      module.emitError(llvm::toString(cpu.takeError()));
      return failure();
    }
    described.cpu = cpu->cpu;
    features = cpu->featureNames();
  }
  FailureOr<llvm::StringMap<KernelArguments>> arguments =
      kernelArguments(module, target.isCuda() ? WeightLayout::Rows : WeightLayout::Panels);
  if (failed(arguments))
    return failure();
  return train::planJson(
      PlanBuilder(module, described, *arguments).build(spec, std::move(features)));
}
