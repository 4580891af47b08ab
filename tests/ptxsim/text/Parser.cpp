#include "tests/ptxsim/text/Parser.h"
#include "tests/ptxsim/text/Lexer.h"
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

namespace ptxsim {
namespace {

class Parser {
public:
  explicit Parser(std::string_view text) : lexer(text) { advance(); }

  ModuleText parse();

private:
  // Tokens.
  void advance() { token = lexer.next(); }
  [[noreturn]] void fail(const std::string &message) { throw LoadError{token.line, message}; }
  bool accept(std::string_view text);
  void expect(std::string_view text);
  std::string word(const char *what);
  uint64_t integer();
  void skipToEndOfLine(int line);
  void skipBraces();

  // Declarations.
  void parseFile();
  void parseFunction();
  VariableText parseVariable(Space space);
  void parseInitial(VariableText &variable, Type type);
  void parseRegisters();
  void parseParameters();
  void parseLoc();

  // Bodies.
  void parseBody();
  void parseStatement();
  Operand parseOperand();
  Operand parseSimpleOperand();
  Operand parseNumber(bool negative);

  Lexer lexer;
  Token token;
  ModuleText module;
  FunctionText *function = nullptr;
  std::vector<std::unordered_map<std::string, int>> scopes; // names of registers, innermost last
  std::vector<int> scopeIds;
  CudaLine cuda;
};

bool Parser::accept(std::string_view text) {
  if (!token.is(text))
    return false;
  advance();
  return true;
}

void Parser::expect(std::string_view text) {
  if (!accept(text))
    fail("'" + std::string(text) + "' expected, got '" + std::string(token.text) + "'");
}

std::string Parser::word(const char *what) {
  if (token.kind != Token::Word)
    fail(std::string(what) + " expected, got '" + std::string(token.text) + "'");
  std::string text(token.text);
  advance();
  return text;
}

uint64_t Parser::integer() {
  bool negative = accept("-");
  Operand value = parseNumber(negative);
  if (value.kind != Operand::Integer)
    fail("an integer expected");
  return value.bits;
}

void Parser::skipToEndOfLine(int line) {
  while (token.kind != Token::End && token.line == line)
    advance();
}

void Parser::skipBraces() {
  expect("{");
  for (int depth = 1; depth > 0; advance()) {
    if (token.kind == Token::End)
      fail("'}' expected at the end of a section");
    depth += token.is("{") ? 1 : token.is("}") ? -1 : 0;
  }
}

ModuleText Parser::parse() {
  while (token.kind != Token::End) {
    int line = token.line;
    std::string head = word("a directive");
    bool isExtern = false;
    while (head == ".visible" || head == ".extern" || head == ".weak" || head == ".common") {
      isExtern |= head == ".extern";
      head = word("a directive");
    }
    if (head == ".version") {
      module.version = std::string(token.text);
      skipToEndOfLine(line);
    } else if (head == ".target") {
      module.target = std::string(token.text);
      skipToEndOfLine(line);
    } else if (head == ".address_size") {
      if (integer() != 64)
        fail("only '.address_size 64' is known");
    } else if (head == ".file") {
      parseFile();
    } else if (head == ".section") {
      word("a section's name");
      skipBraces();
    } else if (head == ".entry") {
      parseFunction();
    } else if (head == ".global" || head == ".const" || head == ".shared") {
      Space space = head == ".shared"  ? Space::Shared
                    : head == ".const" ? Space::Const
                                       : Space::Global;
      VariableText variable = parseVariable(space);
      variable.isExtern = isExtern;
      module.variables.push_back(variable);
      expect(";");
    } else {
      throw LoadError{line, "the directive '" + head + "' is not known to ptxsim"};
    }
  }
  return std::move(module);
}

void Parser::parseFile() {
  int line = token.line;
  int number = static_cast<int>(integer());
  if (token.kind == Token::String)
    module.files[number] = std::string(token.text);
  skipToEndOfLine(line);
}

// `.loc file line column[, function_name label[+offset], inlined_at file line column]`
void Parser::parseLoc() {
  int line = token.line;
  cuda = CudaLine();
  cuda.file = static_cast<int>(integer());
  cuda.line = static_cast<int>(integer());
  while (token.kind != Token::End && token.line == line) {
    if (accept("inlined_at")) {
      cuda.inlinedFile = static_cast<int>(integer());
      cuda.inlinedLine = static_cast<int>(integer());
    } else {
      advance();
    }
  }
}

VariableText Parser::parseVariable(Space space) {
  VariableText variable;
  variable.space = space;
  variable.line = token.line;
  unsigned align = 0, vector = 1;
  std::optional<Type> type;
  while (!type) {
    std::string part = word("a type");
    if (part == ".align")
      align = static_cast<unsigned>(integer());
    else if (part == ".v2" || part == ".v4")
      vector = part == ".v2" ? 2 : 4;
    else if (!(type = parseType(std::string_view(part).substr(1))) || *type == Type::Pred)
      fail("'" + part + "' is not known in a variable's declaration");
  }
  if (accept(".ptr")) { // of a parameter: promises about what it points to
    while (token.kind == Token::Word && token.text[0] == '.')
      if (word("an attribute") == ".align")
        integer();
  }
  variable.name = word("a variable's name");
  uint64_t count = vector;
  variable.isArray = vector > 1;
  bool unsized = false;
  while (accept("[")) {
    variable.isArray = true;
    if (accept("]")) {
      unsized = true;
      continue;
    }
    count *= integer();
    expect("]");
  }
  variable.size = unsized ? 0 : count * sizeOf(*type);
  variable.align = align ? align : sizeOf(*type) * vector;
  if (accept("=")) {
    parseInitial(variable, *type);
    if (unsized)
      variable.size = variable.initial.size();
    if (variable.initial.size() > variable.size)
      fail("more initial values than '" + variable.name + "' has elements");
    variable.initial.resize(variable.size);
  }
  return variable;
}

void Parser::parseInitial(VariableText &variable, Type type) {
  int depth = 0;
  do {
    while (accept("{"))
      ++depth;
    if (token.is("}"))
      continue;
    bool negative = accept("-");
    if (token.kind != Token::Number)
      fail("only numbers are known as initial values, got '" + std::string(token.text) + "'");
    Operand value = parseNumber(negative);
    uint64_t bits = value.bits;
    if (value.kind == Operand::Float && type == Type::F32) {
      float narrow = static_cast<float>(value.real);
      std::memcpy(&bits, &narrow, sizeof narrow);
    } else if (value.kind == Operand::Float) {
      std::memcpy(&bits, &value.real, sizeof bits);
    }
    const auto *bytes = reinterpret_cast<const uint8_t *>(&bits);
    variable.initial.insert(variable.initial.end(), bytes, bytes + sizeOf(type));
    while (depth > 0 && accept("}"))
      --depth;
  } while (accept(","));
  while (depth-- > 0)
    expect("}");
}

void Parser::parseFunction() {
  module.functions.emplace_back();
  function = &module.functions.back();
  function->line = token.line;
  function->name = word("a kernel's name");
  function->scopeParents = {-1};
  cuda = CudaLine();
  if (accept("(") && !accept(")"))
    parseParameters();
  while (!token.is("{")) {
    if (accept(";")) // a declaration without a body
      throw LoadError{function->line, "'" + function->name + "' is declared but not defined"};
    std::string part = word("a kernel's directive");
    if (part == ".maxntid" || part == ".reqntid") {
      uint64_t threads = integer();
      while (accept(","))
        threads *= integer();
      function->maxThreads = static_cast<unsigned>(threads);
    } else if (part == ".minnctapersm" || part == ".maxnreg" || part == ".maxnctapersm") {
      integer();
    } else if (part == ".pragma") {
      advance();
      expect(";");
    } else {
      fail("the directive '" + part + "' of a kernel is not known to ptxsim");
    }
  }
  scopeIds = {0};
  scopes.assign(1, {});
  advance();
  parseBody();
  function = nullptr;
}

void Parser::parseParameters() {
  do {
    expect(".param");
    function->params.push_back(parseVariable(Space::Param));
  } while (accept(","));
  expect(")");
}

void Parser::parseRegisters() {
  std::string typeName = word("a register's type");
  std::optional<Type> type = parseType(std::string_view(typeName).substr(1));
  if (!type)
    fail("registers of type '" + typeName + "' are not known to ptxsim");
  auto declare = [&](const std::string &name) {
    scopes.back()[name] = static_cast<int>(function->registers.size());
    function->registers.push_back({name, *type});
  };
  do {
    std::string name = word("a register's name");
    if (accept("<")) {
      uint64_t count = integer();
      expect(">");
      for (uint64_t k = 0; k < count; ++k)
        declare(name + std::to_string(k));
    } else {
      declare(name);
    }
  } while (accept(","));
  expect(";");
}

void Parser::parseBody() {
  while (true) {
    if (token.kind == Token::End)
      fail("'}' expected at the end of a kernel");
    if (accept("{")) { // a scope, as inline assembly opens
      function->scopeParents.push_back(scopeIds.back());
      scopeIds.push_back(static_cast<int>(function->scopeParents.size()) - 1);
      scopes.emplace_back();
    } else if (accept("}")) {
      scopes.pop_back();
      scopeIds.pop_back();
      if (scopes.empty())
        return;
    } else if (accept(";")) {
    } else if (accept(".loc")) {
      parseLoc();
    } else if (accept(".reg")) {
      parseRegisters();
    } else if (accept(".pragma")) {
      advance();
      expect(";");
    } else if (token.is(".shared") || token.is(".local")) {
      Space space = token.is(".shared") ? Space::Shared : Space::Local;
      advance();
      function->variables.push_back(parseVariable(space));
      expect(";");
    } else if (token.kind == Token::Word && token.text[0] == '.') {
      fail("the directive '" + std::string(token.text) + "' is not known to ptxsim");
    } else {
      parseStatement();
    }
  }
}

void Parser::parseStatement() {
  Statement statement;
  statement.line = token.line;
  statement.cuda = cuda;
  statement.scope = scopeIds.back();
  if (accept("@")) {
    statement.guardNegated = accept("!");
    Operand guard = parseSimpleOperand();
    if (guard.kind != Operand::Register || function->registers[guard.reg].type != Type::Pred)
      fail("a guard must be a predicate register");
    statement.guard = guard.reg;
  }
  statement.opcode = word("an instruction");
  if (accept(":")) {
    if (statement.guard >= 0)
      fail("a label cannot be guarded");
    auto key = std::make_pair(statement.scope, statement.opcode);
    if (!function->labels.emplace(key, function->statements.size()).second)
      fail("the label '" + statement.opcode + "' stands twice");
    return;
  }
  for (size_t begin = 0; begin <= statement.opcode.size();) {
    size_t dot = std::min(statement.opcode.find('.', begin), statement.opcode.size());
    statement.parts.push_back(statement.opcode.substr(begin, dot - begin));
    begin = dot + 1;
  }
  if (!token.is(";"))
    do
      statement.operands.push_back(parseOperand());
    while (accept(","));
  expect(";");
  function->statements.push_back(std::move(statement));
}

Operand Parser::parseOperand() {
  Operand operand;
  if (accept("{")) {
    operand.kind = Operand::Vector;
    do
      operand.parts.push_back(parseSimpleOperand());
    while (accept(","));
    expect("}");
    return operand;
  }
  if (accept("[")) {
    operand.kind = Operand::Address;
    operand.parts.push_back(parseSimpleOperand());
    std::swap(operand.offset, operand.parts[0].offset);
    expect("]");
    return operand;
  }
  operand = parseSimpleOperand();
  if (accept("|")) {
    Operand pair;
    pair.kind = Operand::Pair;
    pair.parts = {operand, parseSimpleOperand()};
    return pair;
  }
  return operand;
}

Operand Parser::parseSimpleOperand() {
  Operand operand;
  if (accept("!")) {
    operand = parseSimpleOperand();
    operand.negated = true;
    return operand;
  }
  if (token.is("-") || token.kind == Token::Number) {
    bool negative = accept("-");
    return parseNumber(negative);
  }
  std::string name = word("an operand");
  if (name == "_")
    return operand;
  operand.kind = Operand::Name;
  for (size_t k = scopes.size(); k-- > 0;)
    if (auto found = scopes[k].find(name); found != scopes[k].end()) {
      operand.kind = Operand::Register;
      operand.reg = found->second;
      break;
    }
  if (operand.kind == Operand::Name && name[0] == '%')
    operand.kind = Operand::Special;
  operand.name = std::move(name);
  while (token.is("+") || token.is("-")) {
    bool negative = token.is("-");
    advance();
    int64_t offset = static_cast<int64_t>(integer());
    operand.offset += negative ? -offset : offset;
  }
  return operand;
}

Operand Parser::parseNumber(bool negative) {
  if (token.kind != Token::Number)
    fail("a number expected, got '" + std::string(token.text) + "'");
  Operand operand;
  std::string text(token.text);
  bool known = true;
  auto hexadecimal = [&](size_t digits) {
    const char *end = text.data() + text.size();
    auto result = std::from_chars(text.data() + 2, end, operand.bits, 16);
    known = result.ec == std::errc() && result.ptr == end && text.size() == 2 + digits;
  };
  if (text.starts_with("0f") || text.starts_with("0F")) {
    operand.kind = Operand::FloatBits;
    hexadecimal(8);
    operand.bits ^= negative ? 0x80000000u : 0;
  } else if (text.starts_with("0d") || text.starts_with("0D")) {
    operand.kind = Operand::Float;
    hexadecimal(16);
    std::memcpy(&operand.real, &operand.bits, sizeof operand.real);
    operand.real = negative ? -operand.real : operand.real;
  } else if (!text.starts_with("0x") && text.find_first_of(".eE") != text.npos) {
    operand.kind = Operand::Float;
    operand.real = std::strtod(text.c_str(), nullptr) * (negative ? -1 : 1);
  } else {
    operand.kind = Operand::Integer;
    char *end = nullptr;
    operand.bits = std::strtoull(text.c_str(), &end, 0);
    known = *end == 0 || ((*end == 'U' || *end == 'u') && end[1] == 0);
    operand.bits = negative ? -operand.bits : operand.bits;
  }
  if (!known)
    fail("'" + text + "' is not a number");
  advance();
  return operand;
}

} // namespace

ModuleText parseModule(std::string_view text) { return Parser(text).parse(); }

} // namespace ptxsim
