// A kernel made ready to run: instructions with their handlers and with operands as places in the
// register file.
#ifndef PTXSIM_DECODE_KERNEL_H
#define PTXSIM_DECODE_KERNEL_H

#include "tests/ptxsim/text/Ast.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ptxsim {

constexpr int lanes = 32;
using Mask = uint32_t;
constexpr Mask allLanes = ~Mask(0);

struct Warp;
struct Inst;
/// Executes one instruction for the lanes in the mask.
using Handler = void (*)(Warp &warp, const Inst &inst, Mask mask);

/// What the warp's loop does with an instruction.
enum class Flow : uint8_t { Next, Branch, Exit, Barrier, Trap };

constexpr uint32_t noOperand = ~0u;
constexpr int maxOperands = 16;

struct Inst {
  Handler run = nullptr;
  Flow flow = Flow::Next;
  Type type = Type::B32;
  Space space = Space::Generic;
  uint8_t count = 0;       // elements of a vector, operands of a barrier
  uint8_t elementSize = 0; // bytes in memory
  bool guardNegated = false;
  bool strong = false;  // volatile, relaxed, atomic …: not a race by itself
  bool carries = false; // mov and its like: undefined sources make an undefined result, no report
  bool inMainLoop = false; // an innermost loop around an mma
  bool synthetic = false;  // a jump that the order of blocks needs; not counted
  uint32_t guard = noOperand;
  uint32_t operand[maxOperands];   // offsets of rows in a warp's register file
  uint8_t width[maxOperands] = {}; // bytes of a lane in that row
  int64_t offset = 0;              // of the address
  int64_t offset2 = 0;             // of the second address (cp.async's source)
  uint32_t mode = 0;               // what the handler makes of it
  uint32_t mode2 = 0;
  uint32_t target = 0;                              // of a branch: index of an instruction
  uint32_t index = 0;                               // its own
  uint16_t reads[maxOperands] = {}, writes[8] = {}; // registers, for the check of definedness
  uint8_t readCount = 0, writeCount = 0;
  const Statement *statement = nullptr;

  Inst() { std::fill(operand, operand + maxOperands, noOperand); }
};

/// A row that is the same for every instruction: an immediate, or a special register.
struct ConstantRow {
  uint32_t offset = 0;
  uint8_t width = 4;
  uint64_t bits = 0;
  std::string special; // empty: `bits` in every lane
};

/// What a wgmma names beside its other operands.
struct WarpgroupProduct {
  uint32_t columns = 0;
  bool bf16 = false, negatedA = false, negatedB = false, transposedA = false, transposedB = false;
  std::vector<uint32_t> rows;      // of the accumulators, in the register file
  std::vector<uint16_t> registers; // the same
};

struct Param {
  uint64_t offset = 0, size = 0;
};

struct Kernel {
  std::string name;
  FunctionText text; // statements and registers, for reports
  const ModuleText *module = nullptr;
  std::vector<Inst> code;
  std::vector<ConstantRow> constants;
  std::vector<Param> params;
  std::vector<WarpgroupProduct> products;
  uint64_t paramBytes = 0;
  uint32_t rowBytes = 0; // of a warp's register file
  uint32_t staticShared = 0;
  uint32_t dynamicShared = 0;  // where `.extern .shared` begins
  uint32_t localBytes = 0;     // of one thread
  uint32_t sharedGranule = 16; // the smallest access of each memory
  uint32_t globalGranule = 16;
  bool hasMainLoop = false;

  std::string whereIs(const Inst &inst) const; // "line 12: add.s32 (kernel.cu:40)"
};

/// A loaded module. Its variables live in device memory.
struct Module {
  ModuleText text;
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::map<std::string, std::pair<uint64_t, uint64_t>> globals; // address, size

  Kernel *find(const std::string &name) const;
  ~Module();
};

/// Throws LoadError.
std::unique_ptr<Module> loadModule(std::string_view ptx);

} // namespace ptxsim

#endif
