// A stage as text.

#include "compiler/pipeline/Dump.h"

using namespace mlir;

std::string lorac::dumpText(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  OpPrintingFlags flags;
  flags.enableDebugInfo(true, /*prettyForm=*/false);
  flags.printNameLocAsPrefix(true);
  module.print(os, flags);
  os << "\n";
  return text;
}
