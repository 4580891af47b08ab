// PTX text -> ModuleText.
#ifndef PTXSIM_TEXT_PARSER_H
#define PTXSIM_TEXT_PARSER_H

#include "tests/ptxsim/text/Ast.h"

namespace ptxsim {

/// What is wrong with a module, and in which line of the PTX.
struct LoadError {
  int line = 0;
  std::string message;
};

/// Throws LoadError for everything that it does not know.
ModuleText parseModule(std::string_view text);

} // namespace ptxsim

#endif
