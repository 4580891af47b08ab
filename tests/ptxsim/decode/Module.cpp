#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/DeviceMemory.h"

namespace ptxsim {
namespace {

void placeVariables(Module &module) {
  for (const VariableText &text : module.text.variables) {
    if (text.space == Space::Shared)
      continue;
    if (text.isExtern)
      throw LoadError{text.line, "the variable '" + text.name + "' is defined nowhere"};
    uint64_t address = deviceMemory().allocate(std::max<uint64_t>(text.size, 1), text.name);
    if (!address)
      throw LoadError{text.line, "no memory for the variable '" + text.name + "'"};
    module.globals[text.name] = {address, text.size};
    // Variables of a module begin as zeros.
    std::vector<uint8_t> bytes = text.initial;
    bytes.resize(text.size);
    deviceMemory().write(address, bytes.data(), text.size);
  }
}

} // namespace

Kernel *Module::find(const std::string &name) const {
  for (const auto &kernel : kernels)
    if (kernel->name == name)
      return kernel.get();
  return nullptr;
}

Module::~Module() {
  for (const auto &[name, place] : globals)
    deviceMemory().release(place.first);
}

std::unique_ptr<Module> loadModule(std::string_view ptx) {
  auto module = std::make_unique<Module>();
  module->text = parseModule(ptx);
  placeVariables(*module);
  for (FunctionText &text : module->text.functions) {
    auto kernel = std::make_unique<Kernel>();
    kernel->name = text.name;
    kernel->text = std::move(text);
    kernel->module = &module->text;
    Decoder(*module, *kernel).run();
    module->kernels.push_back(std::move(kernel));
  }
  return module;
}

std::string Kernel::whereIs(const Inst &inst) const {
  const Statement &statement = *inst.statement;
  return "line " + std::to_string(statement.line) + ": " + statement.opcode;
}

} // namespace ptxsim
