#include "compiler/pipeline/KernelArguments.h"
#include "compiler/codegen/cpu/ArgumentTable.h"
#include "compiler/codegen/cpu/Families.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

/// A buffer that a launch passes: a weight's part, or bytes that are left from where it begins.
struct Passed {
  int64_t weightBytes = -1;
  int64_t element = 0, bytes = 0;
};

std::vector<Passed> passedBy(LaunchOp launch, WeightLayout layout) {
  std::vector<Passed> passed;
  for (Value operand : launch.getBuffers()) {
    if (auto type = dyn_cast<WeightType>(operand.getType())) {
      for (const WeightPart &part : weightParts(type, layout))
        passed.push_back({part.bytes});
      continue;
    }
    auto type = cast<MemRefType>(operand.getType());
    const int64_t element = type.getElementTypeBitWidth() / 8;
    int64_t begin = 0;
    while (auto slice = operand.getDefiningOp<SliceOp>()) {
      begin += slice.getDelta();
      operand = slice.getMemory();
    }
    auto whole = cast<MemRefType>(operand.getType());
    passed.push_back(
        {-1, element, whole.getNumElements() * whole.getElementTypeBitWidth() / 8 - begin});
  }
  return passed;
}

train::LaunchSize sizeOf(const std::string &text, KernelOp kernel) {
  DictionaryAttr params = kernel.getParams();
  if (text == "rows")
    return {train::LaunchSize::Rows};
  if (text == "starts")
    return {train::LaunchSize::Starts};
  if (text == "cached")
    return {train::LaunchSize::Cached};
  if (llvm::isDigit(text[0]))
    return {train::LaunchSize::Number, std::stoll(text)};
  if (text.back() == '^') // whole panels are stored
    return {train::LaunchSize::Number,
            cpu::roundUp(sizeOf(text.substr(0, text.size() - 1), kernel).value, 16)};
  if (size_t times = text.find('*'); times != std::string::npos) { // a param that is absent is 1
    const std::string count = text.substr(0, times);
    return {train::LaunchSize::Number, (params.contains(count) ? cpu::intParam(params, count) : 1) *
                                           cpu::intParam(params, text.substr(times + 1))};
  }
  if (auto scalars = params.getAs<ArrayAttr>("scalars"))
    for (auto [i, name] : llvm::enumerate(scalars.getAsValueRange<StringAttr>()))
      if (name == text)
        return {train::LaunchSize::Scalar, int64_t(i)};
  return {train::LaunchSize::Number, cpu::intParam(params, text)};
}

/// What the CPU's family states.
KernelArguments statedBy(KernelOp kernel, const std::vector<Passed> &first) {
  KernelArguments out;
  DictionaryAttr params = kernel.getParams();
  if (auto scalars = params.getAs<ArrayAttr>("scalars"))
    for (StringRef name : scalars.getAsValueRange<StringAttr>())
      out.mostScalar.push_back(
          name == "rank" && params.contains("most_rank") ? cpu::intParam(params, "most_rank") : 0);
  auto add = [&](const cpu::ArgumentText &text) {
    const size_t at = out.buffers.size();
    const train::LaunchSize stride = sizeOf(text.stride, kernel);
    const train::LaunchSize outer =
        text.outer != "all" ? sizeOf(text.outer, kernel)
        : at < first.size() ? train::LaunchSize{train::LaunchSize::Number,
                                                first[at].bytes / (text.element * stride.value)}
                            : train::LaunchSize();
    out.buffers.push_back({-1, text.element, outer, stride, sizeOf(text.columns, kernel)});
  };
  for (const cpu::ArgumentText &text : cpu::argumentsOf(kernel)) {
    if (!text.isWeight) {
      add(text);
      continue;
    }
    // All parts of the one weight.
    while (out.buffers.size() < first.size() && first[out.buffers.size()].weightBytes >= 0)
      out.buffers.push_back({first[out.buffers.size()].weightBytes});
  }
  return out;
}

/// Where no family states it: kinds alone, those of the first launch.
KernelArguments seenIn(LaunchOp launch, const std::vector<Passed> &first) {
  KernelArguments out;
  for (const Passed &passed : first)
    out.buffers.push_back({passed.weightBytes});
  if (auto scalars = launch.getScalars())
    out.mostScalar.assign(scalars->size(), 0);
  return out;
}

/// Bytes from a buffer's start that the kernel goes to in this launch.
int64_t reach(const train::PlanBuffer &argument, LaunchOp launch, LimitsOp limits) {
  auto value = [&](const train::LaunchSize &size) -> int64_t {
    switch (size.kind) {
    case train::LaunchSize::Rows:
      return launch.getCount();
    case train::LaunchSize::Starts:
      return limits.segments() + 1;
    case train::LaunchSize::Cached:
      return limits.segments() * train::Plan::leadingDim(int64_t(limits.getLength()));
    case train::LaunchSize::Scalar:
      return (*launch.getScalars())[size.value];
    default:
      return size.value;
    }
  };
  const int64_t outer = value(argument.outer);
  return outer == 0
             ? 0
             : argument.element * ((outer - 1) * value(argument.stride) + value(argument.columns));
}

LogicalResult check(LaunchOp launch, const KernelArguments &taken,
                    const std::vector<Passed> &passed, LimitsOp limits) {
  const size_t scalars = launch.getScalars() ? launch.getScalars()->size() : 0;
  if (passed.size() != taken.buffers.size() || scalars != taken.mostScalar.size())
    return launch.emitOpError("brings ")
           << passed.size() << " buffers and " << scalars << " scalars, the kernel takes "
           << taken.buffers.size() << " and " << taken.mostScalar.size();
  for (size_t i = 0; i < scalars; ++i)
    if (const int64_t most = taken.mostScalar[i]; most && (*launch.getScalars())[i] > most)
      return launch.emitOpError("brings the scalar ")
             << (*launch.getScalars())[i] << " where the kernel takes at most " << most;
  for (auto [i, both] : llvm::enumerate(llvm::zip(taken.buffers, passed))) {
    auto &[argument, buffer] = both;
    if (argument.weightBytes != buffer.weightBytes)
      return launch.emitOpError("brings a buffer ")
             << i << " of another kind, or a weight of another size";
    if (argument.element == 0)
      continue;
    if (const int64_t bytes = reach(argument, launch, limits);
        argument.element != buffer.element || bytes > buffer.bytes)
      return launch.emitOpError("brings a buffer ")
             << i << " with " << buffer.bytes << " bytes to its end, the kernel goes to " << bytes;
  }
  return success();
}

} // namespace

FailureOr<llvm::StringMap<KernelArguments>> lorac::kernelArguments(ModuleOp planned,
                                                                   WeightLayout layout) {
  llvm::StringMap<KernelArguments> all;
  auto limits = findOnly<LimitsOp>(planned);
  for (auto program : planned.getOps<ProgramOp>())
    for (LaunchOp launch : program.getOps<LaunchOp>()) {
      const std::vector<Passed> passed = passedBy(launch, layout);
      auto [entry, isNew] = all.try_emplace(launch.getKernel());
      if (isNew)
        entry->second = layout == WeightLayout::Panels
                            ? statedBy(planned.lookupSymbol<KernelOp>(launch.getKernel()), passed)
                            : seenIn(launch, passed);
      if (failed(check(launch, entry->second, passed, limits)))
        return failure();
    }
  return all;
}
