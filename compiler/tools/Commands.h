#pragma once
// lorac's subcommands as plain functions over plain structs; Cli.cpp fills the structs. Each
// command prints its result on stdout and its words on stderr, and says by its Exit how it went:
// whatever went wrong has been told.

#include "runtime/Result.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::tools {

/// A spec and what the command line changes in it.
struct SpecInput {
  std::string path;
  std::vector<std::string> sets; ///< "adapter.r=8"
};

struct CheckOptions {
  SpecInput spec;
  bool json = false;
  bool effective = false; ///< print the effective spec as TOML
};

struct CompileOptions {
  SpecInput spec;
  std::string out;                ///< folder; empty: generated/<spec>
  std::string cpu;                ///< x86-64-v3, …; empty: the CPU at hand
  std::string target;             ///< "cpu", "cuda" or empty: the spec's
  std::vector<std::string> archs; ///< for cuda: sm_80
  bool rankPerKernel = false;     ///< CPU kernels each made for one rank, to compare with
  std::string adapter;            ///< eval, generate: one that the program must serve
  bool json = false;
};

/// `train`, `eval`, `generate`: compile, then become the generated binary with `arguments`.
struct RunOptions {
  CompileOptions compile;
  std::vector<std::string> arguments;
  std::string rerun; ///< how the user would say it again, for the hint after an interruption
};

struct PlanOptions {
  CompileOptions compile;
};

struct ExplainOptions {
  SpecInput spec;
  bool json = false;
};

struct InspectOptions {
  std::string folder;
  std::string part; ///< a stage ("30", "30-backward"), a kernel, or empty: the list
  bool json = false;
};

struct ExportOptions {
  std::string adapter; ///< a folder in PEFT's layout
  std::string format;  ///< peft | peft-adalora | gguf
  std::string out;
  std::string model;  ///< the base model; empty: what the adapter names
  bool force = false; ///< replace an adapter of the same kind that is there
  bool json = false;
};

struct VerifyOptions {
  std::string folder;
};

struct TokenizeOptions {
  std::string model;
  bool json = false;
};

/// What `train` asks of a child when AdaLoRA's ranks have fallen.
struct RecompileOptions {
  std::string program; ///< a train binary
  std::string ranks;   ///< file: a JSON object, rank by module
  std::string out;     ///< the program to write
  std::string dumps;   ///< folder for the stages; empty: none
  bool background = false, probe = false;
};

struct DoctorOptions {
  bool json = false;
};

Exit runCheck(const CheckOptions &options);
Exit runCompile(const CompileOptions &options);
Exit runTrain(const RunOptions &options);
Exit runPlan(const PlanOptions &options);
Exit runExplain(const ExplainOptions &options);
Exit runInspect(const InspectOptions &options);
Exit runExport(const ExportOptions &options);
Exit runVerify(const VerifyOptions &options);
Exit runTokenize(const TokenizeOptions &options);
Exit runRecompile(const RecompileOptions &options);
Exit runDoctor(const DoctorOptions &options);

} // namespace lorac::tools
