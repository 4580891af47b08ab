// 50-planned as plan.json.

#include "compiler/pipeline/PlanJson.h"
#include "compiler/codegen/cpu/Target.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/frontend/Locations.h"
#include "compiler/pipeline/KernelArguments.h"
#include "compiler/pipeline/WeightParts.h"
#include "runtime/abi.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

class PlanWriter {
public:
  PlanWriter(ModuleOp module, const PlanTarget &target,
             const llvm::StringMap<KernelArguments> &arguments, raw_ostream &os)
      : module(module), target(target), arguments(arguments), json(os, 1) {}

  void write(const dsl::Spec &spec, ArrayRef<std::string> features) {
    json.object([&] {
      json.attribute("lorac", LORAC_VERSION);
      json.attribute("abi", int64_t(LORAC_ABI_VERSION));
      json.attribute("spec", spec.name);
      json.attributeObject("target", [&] {
        json.attribute("device", target.isCuda() ? "cuda" : "cpu");
        json.attribute(target.isCuda() ? "compute" : "cpu",
                       target.isCuda() ? target.compute : target.cpu);
        json.attributeArray(target.isCuda() ? "archs" : "features", [&] {
          for (const std::string &name : features)
            json.value(name);
        });
      });
      json.attributeObject("limits", [&] {
        auto limits = findOnly<LimitsOp>(module);
        const int64_t tokens = limits.getTokens();
        json.attribute("max_tokens", tokens);
        json.attribute("max_segments", tokens);
        json.attribute("max_length", int64_t(limits.getLength()));
        json.attribute("head_rows", int64_t(*limits.getHeadRows()));
        json.attribute("vocab", hyperInteger("vocab_size"));
      });
      writeModel();
      writeWeights();
      writeParams();
      writeRanks();
      writeArena();
      writeOptimizer(spec.optimizer);
      writeKernels();
      writePrograms();
    });
  }

private:
  ModuleOp module;
  PlanTarget target;
  const llvm::StringMap<KernelArguments> &arguments;
  llvm::json::OStream json;
  llvm::StringMap<int64_t> weightIndex, kernelIndex;

  WeightLayout layout() { return target.isCuda() ? WeightLayout::Rows : WeightLayout::Panels; }
  DictionaryAttr hyper() { return findOnly<ModelOp>(module).getHyper(); }
  int64_t hyperInteger(StringRef name) {
    auto value = hyper().getAs<IntegerAttr>(name);
    return value ? value.getInt() : 0;
  }

  void writeModel() {
    json.attributeObject("model", [&] {
      json.attribute("architecture", findOnly<ModelOp>(module).getArchitecture());
      json.attributeObject("hyper", [&] {
        for (NamedAttribute entry : hyper())
          if (auto whole = dyn_cast<IntegerAttr>(entry.getValue()))
            json.attribute(entry.getName(), whole.getInt());
          else
            json.attribute(entry.getName(), cast<FloatAttr>(entry.getValue()).getValueAsDouble());
      });
    });
  }

  void writeWeights() {
    json.attributeArray("weights", [&] {
      for (FrozenOp op : module.getOps<FrozenOp>()) {
        weightIndex[op.getSymName()] = weightIndex.size();
        auto type = cast<WeightType>(op.getType());
        json.object([&] {
          json.attribute("name", op.getSymName());
          json.attribute("gguf", op.getGguf().value_or(""));
          json.attribute("kind", op.getKind().value_or(""));
          json.attributeArray("shape", [&] {
            for (int64_t n : type.getShape())
              json.value(n);
          });
          json.attribute("format", toString(type.getFormat()));
          json.attribute("permute_heads", int64_t(op.getPermuteHeads().value_or(0)));
          if (op.getHfAdd())
            json.attribute("hf_add", op.getHfAdd()->convertToDouble());
          json.attributeArray("parts", [&] {
            for (const WeightPart &part : weightParts(type, layout()))
              json.object([&] {
                json.attribute("name", part.name);
                json.attribute("bytes", part.bytes);
              });
          });
        });
      }
    });
  }

  void writeParams() {
    json.attributeArray("params", [&] {
      for (ParamOp op : module.getOps<ParamOp>()) {
        auto type = cast<RankedTensorType>(op.getType());
        auto adapter = module.lookupSymbol<AdapterOp>(op.getAdapterAttr());
        json.object([&] {
          json.attribute("name", op.getSymName());
          json.attribute("module", adapter.getSymName());
          json.attribute("group", stringifyParamRole(*op.getRole()));
          json.attributeArray("shape", [&] {
            for (int64_t n : type.getShape())
              json.value(n);
          });
          json.attribute("offset", int64_t(*op.getOffset()));
          json.attribute("rank", int64_t(adapter.getRank()));
          json.attribute("scale", adapter.getScale().convertToDouble());
        });
      }
    });
  }

  // AdaLoRA: budgets, and each module's bounds.
  void writeRanks() {
    for (AdaLoraOp adalora : module.getOps<AdaLoraOp>())
      json.attributeObject("ranks", [&] {
        json.attribute("initial", int64_t(adalora.getInitial()));
        json.attribute("target", int64_t(adalora.getTarget()));
        json.attributeArray("modules", [&] {
          for (AdapterOp adapter : module.getOps<AdapterOp>())
            json.object([&] {
              ArrayRef<int64_t> falls = *adapter.getFalls();
              json.attribute("module", adapter.getSymName());
              json.attribute("initial", falls[0]);
              json.attribute("min", falls[1]);
              json.attribute("max", falls[2]);
            });
        });
      });
  }

  void writeArena() {
    auto arena = findOnly<ArenaOp>(module);
    int64_t scratch = 0;
    for (KernelOp kernel : module.getOps<KernelOp>())
      scratch = std::max<int64_t>(scratch, kernel.getScratch());
    json.attributeObject("arena", [&] {
      json.attribute("bytes", int64_t(arena.getBytes()));
      json.attribute("persistent", int64_t(arena.getPersistent()));
      json.attribute("scratch_bytes", scratch);
      json.attributeArray("regions", [&] {
        for (RegionOp region : module.getOps<RegionOp>())
          json.object([&] {
            json.attribute("name", region.getSymName());
            json.attribute("kind", stringifyRegionRole(region.getRole()));
            json.attribute("offset", int64_t(region.getOffset()));
            json.attribute("count", int64_t(region.getCount()));
            if (region.getStorage() != Storage::Floats)
              json.attribute("storage", stringifyStorage(region.getStorage()));
            if (auto number = dyn_cast_or_null<FloatAttr>(region.getBeginsAttr()))
              json.attribute("begins", number.getValueAsDouble());
            else if (auto word = dyn_cast_or_null<StringAttr>(region.getBeginsAttr()))
              json.attribute("begins", word.getValue());
          });
      });
    });
    std::map<std::string, BufferOp> io, tables;
    module.walk([&](BufferOp buffer) {
      if (buffer.getRole() == BufferRole::IO)
        io.try_emplace(buffer.getLabel().str(), buffer);
      if (buffer.getRole() == BufferRole::Table)
        tables.try_emplace(buffer.getLabel().str(), buffer);
    });
    json.attributeObject("io", [&] {
      for (auto &[name, buffer] : io)
        json.attribute(name, int64_t(buffer.getOffset()));
    });
    json.attributeArray("tables", [&] {
      for (auto &[name, buffer] : tables)
        json.object([&, op = buffer]() mutable {
          auto shape = cast<MemRefType>(op.getMemory().getType()).getShape();
          FrequenciesOp rope;
          if (auto name = op.getFrequenciesAttr())
            rope = module.lookupSymbol<FrequenciesOp>(name);
          json.attribute("kind", rope ? "rope" : "dynamic8");
          json.attribute("offset", int64_t(op.getOffset()));
          json.attribute("positions", shape[0]);
          json.attribute("dim", shape[1]);
          if (!rope)
            return;
          json.attribute("factor", rope.getFactor().convertToDouble());
          json.attributeArray("frequencies", [&] {
            for (float frequency : rope.getInverse())
              json.value(double(frequency));
          });
        });
    });
  }

  void writeOptimizer(const dsl::OptimizerSpec &optimizer) {
    auto update = module.lookupSymbol<ProgramOp>("update");
    if (!update)
      return;
    json.attributeObject("optimizer", [&] {
      json.attribute("name", llvm::StringRef(toString(*optimizer.name)));
      if (*optimizer.min8bitSize > 0)
        json.attribute("min_8bit_size", *optimizer.min8bitSize);
      writeScalars(update);
    });
    for (StringRef name : {"importance", "average"})
      if (auto program = module.lookupSymbol<ProgramOp>(name))
        json.attributeObject(name, [&] { writeScalars(program); });
  }

  // What the host computes before each run of a program, in the io buffer of its name.
  void writeScalars(ProgramOp program) {
    int64_t floats = 0;
    for (BufferOp buffer : program.getOps<BufferOp>())
      if (buffer.getRole() == BufferRole::IO && buffer.getLabel() == program.getName())
        floats = cast<MemRefType>(buffer.getMemory().getType()).getNumElements();
    json.attribute("floats", floats);
    json.attributeArray("scalars", [&] {
      for (ScalarOp scalar : program.getOps<ScalarOp>())
        json.object([&] {
          json.attribute("name", scalar.getLabel());
          json.attribute("at", int64_t(scalar.getAt()));
          json.attribute("by_group", int64_t(scalar.getByGroup().value_or(0)));
          json.attributeArray("formula", [&] {
            for (Attribute term : scalar.getFormula())
              if (auto word = dyn_cast<StringAttr>(term))
                json.value(word.getValue());
              else
                json.value(cast<FloatAttr>(term).getValueAsDouble());
          });
        });
    });
  }

  void writeKernels() {
    json.attributeArray("kernels", [&] {
      for (KernelOp kernel : module.getOps<KernelOp>()) {
        kernelIndex[kernel.getSymName()] = kernelIndex.size();
        json.object([&] {
          json.attribute("name", kernel.getSymName());
          json.attribute("family", kernel.getFamily());
          writeTaken(arguments.lookup(kernel.getSymName()));
          if (target.isCuda())
            return writeBlock(kernel);
          json.attributeObject("tiles", [&] {
            json.attribute("space", stringifyTileSpace(kernel.getSpace()));
            json.attribute("tile", int64_t(kernel.getTile()));
            json.attribute("count", int64_t(kernel.getCount()));
          });
          json.attribute("scratch", int64_t(kernel.getScratch()));
        });
      }
    });
  }

  // Buffers: ["w", bytes] of a weight's part, [element, outer, stride, columns] of the arena, []
  // where nothing is stated. Scalars: the most that each may be, 0 where there is no bound.
  void writeTaken(const KernelArguments &taken) {
    auto size = [&](const ArgumentSize &of) {
      switch (of.kind) {
      case ArgumentSize::Rows:
        return json.value("rows");
      case ArgumentSize::Starts:
        return json.value("starts");
      case ArgumentSize::Scalar:
        return json.value("s" + std::to_string(of.value));
      default:
        return json.value(of.value);
      }
    };
    json.attributeArray("args", [&] {
      for (const KernelArgument &argument : taken.buffers)
        json.array([&] {
          if (argument.weightBytes >= 0)
            json.value("w"), json.value(argument.weightBytes);
          else if (argument.element > 0)
            json.value(argument.element), size(argument.outer), size(argument.stride),
                size(argument.columns);
        });
    });
    json.attributeArray("scalars", [&] {
      for (int64_t most : taken.mostScalar)
        json.value(most);
    });
  }

  void writeBlock(KernelOp kernel) {
    Operation *function = target.kernels.lookupSymbol(kernel.getSymName());
    json.attribute("threads", function->getAttrOfType<IntegerAttr>("cuda.threads").getInt());
    json.attribute("shared", function->getAttrOfType<IntegerAttr>("cuda.shared").getInt());
  }

  void writePrograms() {
    json.attributeObject("programs", [&] {
      for (auto program : module.getOps<ProgramOp>())
        json.attributeArray(program.getName(), [&] {
          for (LaunchOp launch : program.getOps<LaunchOp>())
            writeLaunch(launch);
        });
    });
  }

  void writeLaunch(LaunchOp launch) {
    json.object([&] {
      json.attribute("kernel", kernelIndex.lookup(launch.getKernel()));
      json.attributeArray("args", [&] {
        for (Value operand : launch.getBuffers())
          writeArgs(operand);
      });
      json.attributeArray("rows", [&] {
        json.value(int64_t(launch.getBegin())), json.value(int64_t(launch.getCount()));
      });
      if (auto scalars = launch.getScalars())
        json.attributeArray("scalars", [&] {
          for (int64_t n : *scalars)
            json.value(n);
        });
      if (launch.getFixed())
        json.attribute("fixed", true);
      if (!target.isCuda())
        json.attribute("tiles", tilesOf(launch));
      if (auto grid = launch.getGrid())
        json.attributeArray("grid", [&] {
          for (int64_t n : *grid)
            json.value(n);
        });
      json.attribute("flops", int64_t(launch.getFlops()));
      json.attribute("bytes", leastBytes(launch));
      json.attribute("op", nameOf(launch.getLoc()));
      json.attribute("loc", placeOf(launch.getLoc()));
    });
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

  void writeArgs(Value operand) {
    if (auto type = dyn_cast<WeightType>(operand.getType())) {
      int64_t index = weightIndex.lookup(operand.getDefiningOp<UseOp>().getSymbol());
      for (size_t part = 0, n = weightParts(type, layout()).size(); part < n; ++part)
        json.array([&] { json.value("w"), json.value(index), json.value(int64_t(part)); });
      return;
    }
    int64_t offset = 0;
    while (auto slice = operand.getDefiningOp<SliceOp>()) {
      offset += slice.getDelta();
      operand = slice.getMemory();
    }
    json.value(offset + int64_t(operand.getDefiningOp<BufferOp>().getOffset()));
  }
};

} // namespace

FailureOr<std::string> lorac::planJson(ModuleOp module, const dsl::Spec &spec,
                                       const PlanTarget &target) {
  PlanTarget described = target;
  std::vector<std::string> features = target.archs;
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
  std::string text;
  llvm::raw_string_ostream os(text);
  PlanWriter(module, described, *arguments, os).write(spec, features);
  os << "\n";
  return text;
}
