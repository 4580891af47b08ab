// What a family of instructions uses to decode its statements: rows for operands, and checks of
// their form.
#ifndef PTXSIM_DECODE_DECODER_H
#define PTXSIM_DECODE_DECODER_H

#include "tests/ptxsim/decode/Kernel.h"
#include "tests/ptxsim/decode/Modifiers.h"
#include <unordered_map>

namespace ptxsim {

class Decoder;
using DecodeFunction = void (*)(Decoder &decoder, Modifiers &modifiers, Inst &inst);
/// Opcodes up to the first dot.
using OpcodeTable = std::unordered_map<std::string, DecodeFunction>;

class Decoder {
public:
  Decoder(Module &module, Kernel &kernel);
  void run();

  // For the families: the statement in hand.
  const Statement &statement() const { return *current; }
  size_t operandCount() const { return current->operands.size(); }
  void expectOperands(size_t least, size_t most);
  void expectOperands(size_t count) { expectOperands(count, count); }
  [[noreturn]] void fail(const std::string &message) const;

  /// Appends operand `from` as one that is read as `type`; a register must be as wide, or wider
  /// with `widerOk`.
  void source(Inst &inst, size_t from, Type type, bool widerOk = false);
  void source(Inst &inst, const Operand &operand, Type type, bool widerOk = false);
  /// Appends the operand as one that is written. `_` is allowed with `sinkOk`.
  void destination(Inst &inst, const Operand &operand, Type type, bool widerOk = false,
                   bool sinkOk = false);
  void destination(Inst &inst, size_t from, Type type, bool widerOk = false) {
    destination(inst, current->operands[from], type, widerOk);
  }
  /// Appends the base of `[base+offset]`; returns the offset.
  int64_t address(Inst &inst, size_t from, Space space);
  /// destination, then the other operands as sources, all of one type.
  void simple(Inst &inst, Type type, size_t operands);
  /// The value of an operand that must be an integer constant.
  int64_t constant(size_t from) const;
  /// The instruction at which a branch aims.
  uint32_t label(size_t from) const;
  const Param &param(const std::string &name) const;
  /// The row of a register of this type.
  uint32_t rowOf(const Operand &operand, Type type) const;
  /// Whether the module was made for this architecture.
  bool isFor(const std::string &target) const { return module.text.target == target; }

  Kernel &kernel;

private:
  void layOutRegisters();
  void layOutParams();
  void layOutVariables();
  void decode(const Statement &statement);
  uint32_t constantRow(uint64_t bits, unsigned width);
  uint32_t specialRow(const std::string &name, unsigned width);
  void append(Inst &inst, uint32_t row, unsigned width);
  void appendRegister(Inst &inst, const Operand &operand, Type type, bool widerOk);
  bool variableAddress(const std::string &name, uint64_t &address) const;

  Module &module;
  const Statement *current = nullptr;
  std::vector<uint32_t> registerRows;
  std::map<std::string, Param> params;
  std::map<std::string, uint64_t> variables; // addresses in their own space
  std::map<std::pair<uint64_t, unsigned>, uint32_t> constants;
  std::map<std::pair<std::string, unsigned>, uint32_t> specials;
};

const OpcodeTable &opcodeTable();

// The families, one file each in ops/.
void addIntegerOps(OpcodeTable &table);
void addLogicOps(OpcodeTable &table);
void addFloatOps(OpcodeTable &table);
void addCompareOps(OpcodeTable &table);
void addConvertOps(OpcodeTable &table);
void addMoveOps(OpcodeTable &table);
void addMemoryOps(OpcodeTable &table);
void addAtomicOps(OpcodeTable &table);
void addAsyncCopyOps(OpcodeTable &table);
void addMatrixOps(OpcodeTable &table);
void addWarpgroupOps(OpcodeTable &table);
void addWarpOps(OpcodeTable &table);
void addControlOps(OpcodeTable &table);

} // namespace ptxsim

#endif
