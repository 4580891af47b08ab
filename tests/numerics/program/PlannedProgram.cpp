// Packing, planning, launching.

#include "tests/numerics/program/PlannedProgram.h"
#include "compiler/passes/Passes.h"
#include "compiler/pipeline/CpuTarget.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/formats/PackedLayout.h"
#include "runtime/formats/PackedWeight.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

// The first address at or after the vector's begin that is a multiple of 64.
static char *aligned(std::vector<char> &bytes) {
  return reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(bytes.data()) + 63) / 64 * 64);
}

static std::vector<float> floats(const HostTensor &tensor) {
  return {tensor.data.begin(), tensor.data.end()};
}

PlannedProgram::PlannedProgram(const std::string &text, std::map<std::string, HostTensor> given)
    : described(text), planned(text) {
  for (auto function : planned.module->getOps<func::FuncOp>()) {
    Signature &signature = signatures[function.getName().str()];
    for (BlockArgument argument : function.getArguments())
      signature.arguments.push_back(cast<NameLoc>(argument.getLoc()).getName().str());
    for (Type type : function.getResultTypes()) {
      auto tensor = cast<RankedTensorType>(type);
      signature.resultColumns.push_back(tensor.getRank() == 1 ? 0 : columns(tensor));
    }
  }
  drawSymbols(std::move(given));
  compile();
}

void PlannedProgram::drawSymbols(std::map<std::string, HostTensor> given) {
  unsigned seed = 100;
  auto draw = [&](const std::string &name, ArrayRef<int64_t> shape) {
    auto found = given.find(name);
    HostTensor tensor = found != given.end() ? found->second : randomTensor(shape.vec(), ++seed);
    for (double &value : tensor.data)
      value = float(value);
    seen[name] = tensor;
  };
  for (auto op : planned.module->getOps<ParamOp>())
    draw(op.getSymName().str(), cast<RankedTensorType>(op.getType()).getShape());
  for (auto op : planned.module->getOps<FrozenOp>()) {
    draw(op.getSymName().str(), cast<WeightType>(op.getType()).getShape());
    pack(op);
  }
}

void PlannedProgram::pack(FrozenOp op) {
  auto type = cast<WeightType>(op.getType());
  formats::WeightFormat format = *formats::parseWeightFormat(type.formatName());
  bool isVector = type.getFormat() == FormatKind::Vector;
  int64_t n = type.getShape()[0], k = isVector ? 1 : type.getShape()[1];
  HostTensor &values = seen[op.getSymName().str()];
  std::vector<float> dense = floats(values);
  auto &store = parts[op.getSymName().str()];
  std::vector<void *> to;
  std::vector<const void *> from;
  for (int part = 0; part < formats::partCount(format); ++part)
    store.emplace_back(formats::partBytes(format, part, n, k) + 64);
  for (std::vector<char> &bytes : store)
    to.push_back(aligned(bytes)), from.push_back(aligned(bytes));
  auto source =
      isVector ? formats::denseRows(dense.data(), 1, n) : formats::denseRows(dense.data(), n, k);
  Result<void> packed = formats::packWeight(*source, format, to);
  ASSERT_TRUE(bool(packed)) << packed.error().message;
  if (isVector)
    return;
  std::vector<float> row(k);
  for (int64_t i = 0; i < n; ++i) {
    formats::unpackRow(format, n, k, from, i, row.data());
    std::copy(row.begin(), row.end(), values.data.begin() + i * k);
  }
}

void PlannedProgram::compile() {
  DialectRegistry registry;
  registerCpuDialects(registry);
  planned.context.appendDialectRegistry(registry);
  planned.context.loadAllAvailableDialects();
  PassManager pm(&planned.context);
  pm.addPass(createSelectKernels({/*headRows=*/10}));
  addDescribeKernels(pm, "native");
  pm.addPass(createPlanMemory());
  ASSERT_TRUE(succeeded(pm.run(*planned.module)));
  CompileRequest request;
  CompileResult result;
  ASSERT_TRUE(succeeded(emitCpu(*planned.module, request, result)));
  Result<train::Module> module = train::Module::load(result.files["module.so"]);
  ASSERT_TRUE(bool(module)) << module.error().message;
  kernels = *module;

  auto plan = (*planned.module)->getAttrOfType<DictionaryAttr>("lora.arena");
  arena.resize(plan.getAs<IntegerAttr>("bytes").getInt() + 64);
  int64_t most = 0;
  for (auto kernel : planned.module->getOps<KernelOp>())
    most = std::max<int64_t>(most, kernel.getScratch());
  scratch.resize(most + 64);
}

void *PlannedProgram::address(Value buffer) {
  int64_t offset = 0;
  while (auto slice = buffer.getDefiningOp<SliceOp>()) {
    offset += slice.getDelta();
    buffer = slice.getMemory();
  }
  return aligned(arena) + offset + buffer.getDefiningOp<BufferOp>().getOffset();
}

// The params that a place of role param or grad holds: one, or those of a stack.
static std::vector<std::string> symbolsOf(BufferOp buffer) {
  auto stack = SymbolTable::lookupNearestSymbolFrom<StackOp>(buffer, buffer.getLabelAttr());
  if (!stack)
    return {buffer.getLabel().str()};
  std::vector<std::string> names;
  for (auto part : stack.getParts().getAsRange<FlatSymbolRefAttr>())
    names.push_back(part.getValue().str());
  return names;
}

// What a place holds before the first launch.
static void fill(BufferOp buffer, char *memory, const Inputs &inputs,
                 const std::map<std::string, HostTensor> &symbols) {
  std::string label = buffer.getLabel().str();
  auto *asFloats = reinterpret_cast<float *>(memory);
  auto *asInts = reinterpret_cast<int32_t *>(memory);
  auto shape = cast<MemRefType>(buffer.getMemory().getType()).getShape();
  if (buffer.getRole() == BufferRole::Param) {
    for (const std::string &symbol : symbolsOf(buffer)) {
      std::vector<float> values = floats(symbols.at(symbol));
      asFloats = std::copy(values.begin(), values.end(), asFloats);
    }
  } else if (buffer.getRole() == BufferRole::Grad) {
    std::fill_n(asFloats, cast<MemRefType>(buffer.getMemory().getType()).getNumElements(), 0.0f);
  } else if (buffer.getRole() == BufferRole::Table) { // rope: cosines, then sines
    double theta = cast<FloatAttr>(buffer->getAttr("theta")).getValueAsDouble();
    for (int64_t position = 0; position < shape[0]; ++position)
      for (int64_t i = 0; i < shape[1] / 2; ++i) {
        double angle = position * std::pow(theta, -2.0 * i / shape[1]);
        asFloats[position * shape[1] + i] = std::cos(angle);
        asFloats[position * shape[1] + shape[1] / 2 + i] = std::sin(angle);
      }
  } else if (buffer.getRole() == BufferRole::IO) {
    std::string name = label == "segment_starts"                 ? "segments"
                       : label == "hidden" || label == "head_in" ? "h"
                                                                 : label;
    auto input = inputs.find(name);
    if (input == inputs.end())
      return;
    if (name != "h") {
      for (int64_t i = 0; i < input->second.size(); ++i)
        asInts[i] = int32_t(input->second.data[i]);
      return;
    }
    for (int64_t m = 0; m < input->second.rows(); ++m)
      for (int64_t j = 0; j < input->second.columns(); ++j)
        asFloats[m * shape[1] + j] = input->second.at(m, j);
  }
}

Outcome PlannedProgram::run(const std::string &name, const Inputs &inputs,
                            const Environment &environment) {
  Outcome outcome;
  if (!kernels)
    return outcome;
  std::fill_n(reinterpret_cast<float *>(aligned(arena)), (arena.size() - 64) / 4, NAN);
  func::FuncOp function = planned.function(name);
  function.walk(
      [&](BufferOp buffer) { fill(buffer, static_cast<char *>(address(buffer)), inputs, seen); });

  int64_t tokens = inputs.count("ids") ? inputs.at("ids").size() : inputs.at("h").rows();
  int64_t segments = inputs.count("segments") ? inputs.at("segments").size() - 1 : 1;
  LoracStep step{tokens,
                 segments,
                 float(environment.lossScale),
                 environment.dropout.seed,
                 environment.dropout.step,
                 environment.dropout.micro};
  function.walk([&](LaunchOp launch) {
    auto kernel = planned.module->lookupSymbol<KernelOp>(launch.getKernel());
    Result<LoracKernel> entry = kernels->kernel(kernel.getSymName().str());
    ASSERT_TRUE(bool(entry)) << entry.error().message;
    std::vector<void *> buffers;
    for (Value operand : launch.getBuffers()) {
      if (auto use = operand.getDefiningOp<UseOp>())
        for (std::vector<char> &bytes : parts.at(use.getSymbol().str()))
          buffers.push_back(aligned(bytes));
      else
        buffers.push_back(address(operand));
    }
    int64_t rows = launch.getFixed() ? int64_t(launch.getCount())
                                     : std::clamp<int64_t>(tokens - int64_t(launch.getBegin()), 0,
                                                           int64_t(launch.getCount()));
    if (rows == 0 && kernel.getFamily() != "matmul_tn")
      return;
    int64_t tiles = kernel.getCount();
    if (kernel.getSpace() == TileSpace::Rows)
      tiles = (rows + int64_t(kernel.getTile()) - 1) / int64_t(kernel.getTile());
    else if (kernel.getSpace() == TileSpace::Segments)
      tiles *= segments;
    (*entry)(buffers.data(), &step, rows, tiles / 2, tiles, aligned(scratch));
    if (tiles / 2 > 0)
      (*entry)(buffers.data(), &step, rows, 0, tiles / 2, aligned(scratch));
  });

  function.walk([&](BufferOp buffer) {
    auto *memory = static_cast<float *>(address(buffer));
    std::string label = buffer.getLabel().str();
    if (buffer.getRole() == BufferRole::Grad) {
      for (const std::string &symbol : symbolsOf(buffer)) {
        HostTensor gradient = HostTensor::zeros(seen.at(symbol).shape);
        std::copy_n(memory, gradient.size(), gradient.data.begin());
        memory += gradient.size();
        outcome.gradients[symbol] = gradient;
      }
    }
    int64_t n = signatures.at(name).resultColumns.at(0);
    if (buffer.getRole() == BufferRole::IO && label == (n == 0           ? "row_loss"
                                                        : name == "head" ? "logits"
                                                                         : "hidden")) {
      HostTensor result = HostTensor::zeros(n == 0 ? std::vector<int64_t>{tokens}
                                                   : std::vector<int64_t>{tokens, n});
      for (int64_t m = 0; m < tokens; ++m)
        for (int64_t j = 0; j < result.columns(); ++j)
          result.at(m, j) = memory[n == 0 ? m : m * leadingDimension(n) + j];
      outcome.results = {result};
    }
  });
  return outcome;
}

void PlannedProgram::expectMatch(const std::string &name, const Inputs &inputs,
                                 const Environment &given, double tolerance) {
  Environment environment = given;
  environment.symbols = seen;
  std::vector<HostTensor> arguments;
  for (const std::string &argument : signatures.at(name).arguments)
    arguments.push_back(inputs.at(argument));
  Outcome wanted = test::run(described.function(name), arguments, environment);
  Outcome got = run(name, inputs, environment);
  ASSERT_EQ(got.results.size(), wanted.results.size());
  constexpr double smallest =
      0.1; // where the exact answer is 0: dq of a token that sees itself alone
  for (size_t i = 0; i < got.results.size(); ++i)
    expectClose(got.results[i], wanted.results[i], tolerance, name + "'s result", smallest);
  ASSERT_EQ(got.gradients.size(), wanted.gradients.size());
  for (auto &[symbol, gradient] : wanted.gradients)
    expectClose(got.gradients[symbol], gradient, tolerance, "gradient of " + symbol);
}
