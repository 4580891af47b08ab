// The dotted parts of an opcode. Each must be taken by the decoder: one that is left over is an
// unknown instruction.
#ifndef PTXSIM_DECODE_MODIFIERS_H
#define PTXSIM_DECODE_MODIFIERS_H

#include "tests/ptxsim/text/Parser.h"
#include <initializer_list>
#include <optional>

namespace ptxsim {

class Modifiers {
public:
  explicit Modifiers(const Statement &statement)
      : statement(statement), parts(statement.parts.begin() + 1, statement.parts.end()) {
    for (std::string &part : parts) // one block's window of shared memory is all that there is
      part = part == "shared::cta" ? "shared" : part;
  }

  /// Takes `name` wherever it stands.
  bool take(std::string_view name) {
    for (size_t k = 0; k < parts.size(); ++k)
      if (parts[k] == name) {
        parts.erase(parts.begin() + static_cast<long>(k));
        return true;
      }
    return false;
  }

  /// Takes the one of `names` that is there; its place in the list, -1 without any.
  int takeOne(std::initializer_list<std::string_view> names) {
    int place = 0;
    for (std::string_view name : names) {
      if (take(name))
        return place;
      ++place;
    }
    return -1;
  }

  /// Takes what begins with `prefix`, such as a hint on caching.
  bool takePrefix(std::string_view prefix) {
    for (size_t k = 0; k < parts.size(); ++k)
      if (std::string_view(parts[k]).starts_with(prefix)) {
        parts.erase(parts.begin() + static_cast<long>(k));
        return true;
      }
    return false;
  }

  /// Takes the first part that is a type.
  std::optional<Type> takeType() {
    for (size_t k = 0; k < parts.size(); ++k)
      if (std::optional<Type> type = parseType(parts[k])) {
        parts.erase(parts.begin() + static_cast<long>(k));
        return type;
      }
    return std::nullopt;
  }

  Type type() {
    if (std::optional<Type> type = takeType())
      return *type;
    fail();
  }

  void finish() {
    if (!parts.empty())
      fail();
  }

  [[noreturn]] void fail() const {
    throw LoadError{statement.line,
                    "the instruction '" + statement.opcode + "' is not known to ptxsim"};
  }

private:
  const Statement &statement;
  std::vector<std::string> parts;
};

} // namespace ptxsim

#endif
