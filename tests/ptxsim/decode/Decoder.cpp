#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/decode/Flow.h"
#include "tests/ptxsim/machine/AddressSpace.h"
#include <algorithm>
#include <cstring>

namespace ptxsim {
namespace {

uint64_t roundUp(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Bits of an immediate, as the type has them.
uint64_t immediateBits(const Operand &operand, Type type) {
  if (operand.kind != Operand::Float)
    return operand.bits;
  uint64_t bits = 0;
  if (sizeOf(type) == 8) {
    std::memcpy(&bits, &operand.real, sizeof bits);
  } else {
    float narrow = static_cast<float>(operand.real);
    std::memcpy(&bits, &narrow, sizeof narrow);
  }
  return bits;
}

} // namespace

Decoder::Decoder(Module &module, Kernel &kernel) : kernel(kernel), module(module) {}

void Decoder::fail(const std::string &message) const {
  throw LoadError{current->line, "'" + current->opcode + "': " + message};
}

void Decoder::expectOperands(size_t least, size_t most) {
  if (operandCount() < least || operandCount() > most)
    fail("has " + std::to_string(operandCount()) + " operands");
}

void Decoder::run() {
  layOutRegisters();
  layOutParams();
  layOutVariables();
  for (const Statement &statement : kernel.text.statements)
    decode(statement);
  static const Statement end = [] {
    Statement statement;
    statement.opcode = "end of the kernel";
    statement.parts = {"exit"};
    return statement;
  }();
  Inst last; // a label may stand behind the last instruction
  last.flow = Flow::Exit;
  last.statement = &end;
  last.index = static_cast<uint32_t>(kernel.code.size());
  kernel.code.push_back(last);
  orderBlocks(kernel);
}

void Decoder::layOutRegisters() {
  if (kernel.text.registers.size() >= 65536)
    throw LoadError{kernel.text.line, "more than 65535 registers in '" + kernel.name + "'"};
  for (const RegisterText &reg : kernel.text.registers) {
    registerRows.push_back(kernel.rowBytes);
    // A predicate is one word, bit by lane; the others keep 32-byte alignment.
    kernel.rowBytes +=
        static_cast<uint32_t>(reg.type == Type::Pred ? 32 : sizeOf(reg.type) * lanes);
  }
}

void Decoder::layOutParams() {
  for (const VariableText &text : kernel.text.params) {
    kernel.paramBytes = roundUp(kernel.paramBytes, text.align);
    Param param{kernel.paramBytes, text.size};
    kernel.params.push_back(param);
    params[text.name] = param;
    kernel.paramBytes += text.size;
  }
}

void Decoder::layOutVariables() {
  for (const VariableText &text : module.text.variables)
    if (text.space != Space::Shared)
      variables[text.name] = module.globals.at(text.name).first;
  // Shared variables of the module belong to the kernels that name them.
  std::vector<const VariableText *> shared;
  std::map<std::string, bool> named;
  auto note = [&](auto &self, const Operand &operand) -> void {
    named[operand.name] = true;
    for (const Operand &part : operand.parts)
      self(self, part);
  };
  for (const Statement &statement : kernel.text.statements)
    for (const Operand &operand : statement.operands)
      note(note, operand);
  for (const VariableText &text : module.text.variables)
    if (text.space == Space::Shared && named.count(text.name))
      shared.push_back(&text);
  uint64_t local = 0, fixed = 0;
  for (const VariableText &text : kernel.text.variables) {
    if (text.space == Space::Shared) {
      shared.push_back(&text);
      continue;
    }
    local = roundUp(local, text.align);
    variables[text.name] = local;
    local += text.size;
  }
  unsigned dynamicAlign = 1;
  for (const VariableText *text : shared)
    if (!text->isExtern) {
      fixed = roundUp(fixed, text->align);
      variables[text->name] = fixed;
      fixed += text->size;
    } else {
      dynamicAlign = std::max(dynamicAlign, text->align);
    }
  // Dynamic memory begins at a multiple of its alignment, and never at one of twice that: who needs
  // more must say so.
  uint64_t dynamic = roundUp(fixed, dynamicAlign);
  if (dynamic / dynamicAlign % 2 == 0)
    dynamic += dynamicAlign;
  for (const VariableText *text : shared)
    if (text->isExtern)
      variables[text->name] = dynamic;
  kernel.localBytes = static_cast<uint32_t>(roundUp(local, 16));
  kernel.staticShared = static_cast<uint32_t>(fixed);
  kernel.dynamicShared = static_cast<uint32_t>(dynamic);
}

void Decoder::decode(const Statement &statement) {
  current = &statement;
  Inst inst;
  inst.statement = &statement;
  inst.index = static_cast<uint32_t>(kernel.code.size());
  if (statement.guard >= 0) {
    inst.guard = registerRows[statement.guard];
    inst.guardNegated = statement.guardNegated;
    inst.reads[inst.readCount++] = static_cast<uint16_t>(statement.guard);
  }
  Modifiers modifiers(statement);
  auto found = opcodeTable().find(statement.parts[0]);
  if (found == opcodeTable().end())
    modifiers.fail();
  found->second(*this, modifiers, inst);
  modifiers.finish();
  kernel.code.push_back(inst);
}

void Decoder::append(Inst &inst, uint32_t row, unsigned width) {
  int place = 0;
  while (place < maxOperands && inst.operand[place] != noOperand)
    ++place;
  if (place == maxOperands)
    fail("too many operands");
  inst.operand[place] = row;
  inst.width[place] = static_cast<uint8_t>(width);
}

void Decoder::appendRegister(Inst &inst, const Operand &operand, Type type, bool widerOk) {
  Type declared = kernel.text.registers[operand.reg].type;
  if ((declared == Type::Pred) != (type == Type::Pred) || sizeOf(declared) < sizeOf(type) ||
      (sizeOf(declared) > sizeOf(type) && !widerOk))
    fail("the register '" + operand.name + "' has the type '" + std::string(nameOf(declared)) +
         "', not '" + std::string(nameOf(type)) + "'");
  append(inst, registerRows[operand.reg], sizeOf(declared));
}

void Decoder::source(Inst &inst, size_t from, Type type, bool widerOk) {
  if (from >= operandCount())
    fail("an operand is missing");
  source(inst, current->operands[from], type, widerOk);
}

void Decoder::source(Inst &inst, const Operand &operand, Type type, bool widerOk) {
  uint64_t address = 0;
  if (operand.negated)
    fail("a negated operand is not known here");
  switch (operand.kind) {
  case Operand::Register:
    appendRegister(inst, operand, type, widerOk);
    inst.reads[inst.readCount++] = static_cast<uint16_t>(operand.reg);
    return;
  case Operand::Integer:
  case Operand::Float:
  case Operand::FloatBits:
    if (type == Type::Pred) { // a word of lanes, all or none
      if (operand.kind != Operand::Integer)
        fail("a number with a point is not a predicate");
      uint64_t bits = immediateBits(operand, Type::B32);
      append(inst, constantRow(bits ? allLanes : 0, sizeof(Mask)), sizeOf(type));
      return;
    }
    append(inst, constantRow(immediateBits(operand, type), sizeOf(type)), sizeOf(type));
    return;
  case Operand::Special:
    append(inst, specialRow(operand.name, sizeOf(type)), sizeOf(type));
    return;
  case Operand::Name:
    if (!variableAddress(operand.name, address))
      fail("the name '" + operand.name + "' is not known");
    address += static_cast<uint64_t>(operand.offset);
    append(inst, constantRow(address, sizeOf(type)), sizeOf(type));
    return;
  default:
    fail("an operand of this form is not known here");
  }
}

void Decoder::destination(Inst &inst, const Operand &operand, Type type, bool widerOk,
                          bool sinkOk) {
  if (operand.kind == Operand::Sink && sinkOk) {
    // A row that nobody reads keeps the place of the operand.
    append(inst, specialRow("sink", 8), std::max(1u, sizeOf(type)));
    return;
  }
  if (operand.kind != Operand::Register || operand.negated)
    fail("the result must be a register");
  appendRegister(inst, operand, type, widerOk);
  inst.writes[inst.writeCount++] = static_cast<uint16_t>(operand.reg);
}

int64_t Decoder::address(Inst &inst, size_t from, Space space) {
  if (from >= operandCount() || current->operands[from].kind != Operand::Address)
    fail("an address in brackets expected");
  const Operand &operand = current->operands[from];
  const Operand &base = operand.parts[0];
  bool narrow = base.kind == Operand::Register && sizeOf(kernel.text.registers[base.reg].type) == 4;
  if (narrow && space != Space::Shared && space != Space::Local && space != Space::Const)
    fail("a 32-bit address is not known here");
  source(inst, base, narrow ? Type::B32 : Type::B64);
  return operand.offset;
}

void Decoder::simple(Inst &inst, Type type, size_t operands) {
  expectOperands(operands);
  inst.type = type;
  destination(inst, 0, type);
  for (size_t k = 1; k < operands; ++k)
    source(inst, k, type);
}

int64_t Decoder::constant(size_t from) const {
  if (from >= operandCount() || current->operands[from].kind != Operand::Integer)
    fail("an integer constant expected");
  return static_cast<int64_t>(current->operands[from].bits);
}

uint32_t Decoder::label(size_t from) const {
  const std::string &name = current->operands[from].name;
  for (int scope = current->scope; scope >= 0; scope = kernel.text.scopeParents[scope])
    if (auto found = kernel.text.labels.find({scope, name}); found != kernel.text.labels.end())
      return static_cast<uint32_t>(found->second);
  fail("the label '" + name + "' is not known");
}

const Param &Decoder::param(const std::string &name) const {
  auto found = params.find(name);
  if (found == params.end())
    fail("the parameter '" + name + "' is not known");
  return found->second;
}

uint32_t Decoder::rowOf(const Operand &operand, Type type) const {
  if (operand.kind != Operand::Register || kernel.text.registers[operand.reg].type != type)
    fail("a register of type '" + std::string(nameOf(type)) + "' expected");
  return registerRows[operand.reg];
}

uint32_t Decoder::constantRow(uint64_t bits, unsigned width) {
  bits = width == 8 ? bits : bits & ((uint64_t(1) << 8 * width) - 1);
  auto [place, isNew] = constants.try_emplace({bits, width}, kernel.rowBytes);
  if (isNew) {
    kernel.constants.push_back({kernel.rowBytes, static_cast<uint8_t>(width), bits, {}});
    kernel.rowBytes += width * lanes;
  }
  return place->second;
}

uint32_t Decoder::specialRow(const std::string &name, unsigned width) {
  auto [place, isNew] = specials.try_emplace({name, width}, kernel.rowBytes);
  if (isNew) {
    if (name != "sink" && !isSpecial(name))
      fail("the special register '" + name + "' is not known to ptxsim");
    kernel.constants.push_back({kernel.rowBytes, static_cast<uint8_t>(width), 0, name});
    kernel.rowBytes += width * lanes;
  }
  return place->second;
}

bool Decoder::variableAddress(const std::string &name, uint64_t &address) const {
  auto found = variables.find(name);
  if (found == variables.end())
    return false;
  address = found->second;
  return true;
}

const OpcodeTable &opcodeTable() {
  static const OpcodeTable table = [] {
    OpcodeTable all;
    for (auto add : {addIntegerOps, addLogicOps, addFloatOps, addCompareOps, addConvertOps,
                     addMoveOps, addMemoryOps, addAtomicOps, addAsyncCopyOps, addMatrixOps,
                     addWarpgroupOps, addWarpOps, addControlOps})
      add(all);
    return all;
  }();
  return table;
}

} // namespace ptxsim
