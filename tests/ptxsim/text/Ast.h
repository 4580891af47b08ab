// PTX as it is written: what the parser hands to the decoder, names of registers resolved, nothing
// interpreted.
#ifndef PTXSIM_TEXT_AST_H
#define PTXSIM_TEXT_AST_H

#include "tests/ptxsim/text/Type.h"
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ptxsim {

enum class Space : unsigned char { Generic, Global, Const, Shared, Local, Param };

/// A `.loc`: a line of CUDA source, and where that line was inlined (0: nowhere).
struct CudaLine {
  int file = 0, line = 0;
  int inlinedFile = 0, inlinedLine = 0;
};

struct Operand {
  enum Kind {
    Register,  // `%r1`
    Special,   // `%tid.x`
    Integer,   // `-4`, `0x10`
    Float,     // `1.5`, `0d3FF0000000000000`: `real`
    FloatBits, // `0f3F800000`: `bits`
    Name,      // a variable (plus `offset`), a parameter or a label
    Address,   // `[base+offset]`: parts[0] is Register, Name or Integer
    Vector,    // `{a, b}`
    Pair,      // `p|q`
    Sink,      // `_`
  };
  Kind kind = Sink;
  int reg = -1;         // Register
  bool negated = false; // `!%p1`
  std::string name;     // Special, Name
  uint64_t bits = 0;    // Integer, FloatBits
  double real = 0;      // Float
  int64_t offset = 0;   // Name, Address
  std::vector<Operand> parts;
};

struct Statement {
  std::string opcode;             // in full, for messages
  std::vector<std::string> parts; // split at the dots
  int guard = -1;                 // register of `@%p`
  bool guardNegated = false;
  std::vector<Operand> operands;
  int line = 0;
  CudaLine cuda;
  int scope = 0; // of labels
};

struct RegisterText {
  std::string name;
  Type type;
};

/// A variable of a module or a function, or a parameter of a kernel.
struct VariableText {
  std::string name;
  Space space = Space::Global;
  unsigned align = 1;
  uint64_t size = 0;
  bool isExtern = false; // dynamic shared memory, or defined nowhere
  bool isArray = false;
  std::vector<uint8_t> initial; // empty: none
  int line = 0;
};

struct FunctionText {
  std::string name;
  int line = 0;
  std::vector<VariableText> params, variables;
  std::vector<RegisterText> registers;
  std::vector<Statement> statements;
  std::map<std::pair<int, std::string>, size_t> labels; // by scope and name
  std::vector<int> scopeParents;                        // [0] is the function's body
  unsigned maxThreads = 1024;                           // `.maxntid`, `.reqntid`
};

struct ModuleText {
  std::string version, target;
  std::vector<VariableText> variables;
  std::vector<FunctionText> functions;
  std::map<int, std::string> files; // of `.file`
};

} // namespace ptxsim

#endif
