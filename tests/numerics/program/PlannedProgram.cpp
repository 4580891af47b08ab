// What programs of all targets share: symbols, inputs, results.

#include "tests/numerics/program/PlannedProgram.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <set>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

PlannedProgram::PlannedProgram(const std::string &text, std::map<std::string, HostTensor> given)
    : described(text), planned(text) {
  for (auto function : planned.module->getOps<ProgramOp>()) {
    Signature &signature = signatures[function.getName().str()];
    for (BlockArgument argument : function.getArguments())
      signature.arguments.push_back(cast<NameLoc>(argument.getLoc()).getName().str());
    for (Type type : function.getResultTypes()) {
      auto tensor = cast<RankedTensorType>(type);
      signature.resultColumns.push_back(tensor.getRank() == 1 ? 0 : columns(tensor));
    }
  }
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
  for (auto op : planned.module->getOps<FrozenOp>())
    draw(op.getSymName().str(), cast<WeightType>(op.getType()).getShape());
}

int64_t PlannedProgram::kernelsOf(StringRef family) {
  return llvm::count_if(planned.module->getOps<KernelOp>(),
                        [&](KernelOp kernel) { return kernel.getFamily() == family; });
}

int64_t PlannedProgram::offsetOf(Value buffer) {
  int64_t offset = 0;
  while (auto slice = buffer.getDefiningOp<SliceOp>()) {
    offset += slice.getDelta();
    buffer = slice.getMemory();
  }
  return offset + buffer.getDefiningOp<BufferOp>().getOffset();
}

int64_t PlannedProgram::tokensOf(const Inputs &inputs) {
  return inputs.count("ids") ? inputs.at("ids").size() : inputs.at("h").rows();
}
int64_t PlannedProgram::segmentsOf(const Inputs &inputs) {
  return inputs.count("segments") ? inputs.at("segments").size() - 1 : 1;
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

// Element `index` of memory in one of the types that activations have.
static void put(Type type, char *memory, int64_t index, double value) {
  if (type.isF32()) {
    float number = float(value);
    std::memcpy(memory + 4 * index, &number, 4);
    return;
  }
  bool lossy = false;
  APFloat number{float(value)};
  number.convert(type.isBF16() ? APFloat::BFloat() : APFloat::IEEEhalf(),
                 APFloat::rmNearestTiesToEven, &lossy);
  uint16_t bits = uint16_t(number.bitcastToAPInt().getZExtValue());
  std::memcpy(memory + 2 * index, &bits, 2);
}
static double get(Type type, const char *memory, int64_t index) {
  if (type.isF32()) {
    float number;
    std::memcpy(&number, memory + 4 * index, 4);
    return number;
  }
  uint16_t bits;
  std::memcpy(&bits, memory + 2 * index, 2);
  return APFloat(type.isBF16() ? APFloat::BFloat() : APFloat::IEEEhalf(), APInt(16, bits))
      .convertToDouble();
}

std::optional<std::vector<char>> PlannedProgram::contents(BufferOp buffer, const Inputs &inputs) {
  auto type = cast<MemRefType>(buffer.getMemory().getType());
  auto shape = type.getShape();
  std::string label = buffer.getLabel().str();
  std::vector<char> bytes(type.getNumElements() * type.getElementTypeBitWidth() / 8);
  auto *asInts = reinterpret_cast<int32_t *>(bytes.data());
  auto set = [&](int64_t index, double value) {
    put(type.getElementType(), bytes.data(), index, value);
  };
  switch (buffer.getRole()) {
  case BufferRole::Param: {
    int64_t index = 0;
    for (const std::string &symbol : symbolsOf(buffer))
      for (double value : seen.at(symbol).data)
        set(index++, value);
    return bytes;
  }
  case BufferRole::Grad:
    return bytes;
  case BufferRole::Table: { // rope: cosines, then sines
    auto rope =
        SymbolTable::lookupNearestSymbolFrom<FrequenciesOp>(buffer, buffer.getFrequenciesAttr());
    for (int64_t position = 0; position < shape[0]; ++position)
      for (int64_t i = 0; i < shape[1] / 2; ++i) {
        double angle = position * double(rope.getInverse()[i]);
        set(position * shape[1] + i, std::cos(angle));
        set(position * shape[1] + shape[1] / 2 + i, std::sin(angle));
      }
    return bytes;
  }
  case BufferRole::IO: {
    if (label == "row_ends") {
      const HostTensor &starts = inputs.at("segments");
      for (int64_t segment = 0; segment + 1 < starts.size(); ++segment)
        for (int64_t m = starts.data[segment]; m < starts.data[segment + 1]; ++m)
          asInts[m] = int32_t(starts.data[segment + 1]);
      return bytes;
    }
    std::string name = label == "segment_starts"                 ? "segments"
                       : label == "hidden" || label == "head_in" ? "h"
                                                                 : label;
    auto input = inputs.find(name);
    if (input == inputs.end())
      return std::nullopt;
    for (int64_t i = 0; name != "h" && i < input->second.size(); ++i)
      asInts[i] = int32_t(input->second.data[i]);
    for (int64_t m = 0; name == "h" && m < input->second.rows(); ++m)
      for (int64_t j = 0; j < input->second.columns(); ++j)
        set(m * shape[1] + j, input->second.at(m, j));
    return bytes;
  }
  default:
    return std::nullopt;
  }
}

Outcome PlannedProgram::outcome(const std::string &name, int64_t tokens,
                                llvm::function_ref<std::vector<char>(BufferOp)> read) {
  Outcome outcome;
  std::set<std::string> set;
  described.function(name).walk([&](SetOp op) { set.insert(op.getSymbol().str()); });
  planned.function(name).walk([&](BufferOp buffer) {
    std::string label = buffer.getLabel().str();
    Type element = cast<MemRefType>(buffer.getMemory().getType()).getElementType();
    const bool isSet = buffer.getRole() == BufferRole::Param && set.count(label) != 0;
    if (isSet || buffer.getRole() == BufferRole::Grad) {
      std::vector<char> bytes = read(buffer);
      int64_t index = 0;
      for (const std::string &symbol : symbolsOf(buffer)) {
        HostTensor tensor = HostTensor::zeros(seen.at(symbol).shape);
        for (double &value : tensor.data)
          value = get(element, bytes.data(), index++);
        (isSet ? outcome.set : outcome.gradients)[symbol] = tensor;
      }
    }
    if (signatures.at(name).resultColumns.empty())
      return;
    int64_t n = signatures.at(name).resultColumns.at(0);
    if (buffer.getRole() == BufferRole::IO && label == (n == 0           ? "row_loss"
                                                        : name == "head" ? "logits"
                                                                         : "hidden")) {
      std::vector<char> bytes = read(buffer);
      HostTensor result = HostTensor::zeros(n == 0 ? std::vector<int64_t>{tokens}
                                                   : std::vector<int64_t>{tokens, n});
      for (int64_t m = 0; m < tokens; ++m)
        for (int64_t j = 0; j < result.columns(); ++j)
          result.at(m, j) = get(element, bytes.data(), n == 0 ? m : m * leadingDimension(n) + j);
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
  // Where the exact answer is 0: dq of a token that sees itself alone.
  constexpr double smallest = 0.1;
  for (size_t i = 0; i < got.results.size(); ++i)
    expectClose(got.results[i], wanted.results[i], tolerance, name + "'s result", smallest);
  ASSERT_EQ(got.gradients.size(), wanted.gradients.size());
  for (auto &[symbol, gradient] : wanted.gradients)
    expectClose(got.gradients[symbol], gradient, tolerance, "gradient of " + symbol);
  ASSERT_EQ(got.set.size(), wanted.set.size());
  for (auto &[symbol, value] : wanted.set)
    expectClose(got.set[symbol], value, tolerance, symbol);
}
