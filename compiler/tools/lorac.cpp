// lorac, for users: Cli.cpp reads the command line, Commands.def lists what it can do.

#include "compiler/tools/Cli.h"
#include "compiler/tools/Output.h"
#include "runtime/Say.h"

#include <exception>
#include <new>
#include <string>

int main(int argc, char **argv) {
  using namespace lorac;
  prepareProcess();
  int code = static_cast<int>(Exit::Bug);
  try {
    code = tools::runCommandLine(argc, argv);
  } catch (const std::exception &error) {
    tools::sayError(std::string("this is a bug of lorac: ") + error.what());
    return static_cast<int>(Exit::Bug);
  }
  Exit written = tools::flushOutput();
  return code ? code : static_cast<int>(written);
}
