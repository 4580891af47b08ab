#pragma once
// The command line: words -> option structs -> one command. The only files with CLI11 are Cli*.cpp.

namespace lorac::tools {

/// Runs the command that the arguments name; the exit code of the process.
int runCommandLine(int argc, const char *const *argv);

} // namespace lorac::tools
