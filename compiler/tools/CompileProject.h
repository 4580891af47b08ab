#pragma once
// The compiler as the commands use it: a project in, files out, every message said.

#include "compiler/tools/Project.h"
#include "compiler/tools/RunMemory.h"
#include "runtime/train/Payload.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lorac::tools {

struct CompileOptions {
  SpecInput spec;
  std::string out;                ///< folder; empty: generated/<spec>
  std::string cpu;                ///< x86-64-v3, …; empty: the CPU at hand
  std::string target;             ///< "cpu", "cuda" or empty: the spec's
  std::vector<std::string> archs; ///< for cuda: sm_80
  bool rankPerKernel = false;     ///< CPU kernels each made for one rank, to compare with
  std::string adapter;            ///< eval, generate: one that the program must serve
  int64_t sequences = 0;          ///< generate: texts at once, of a program for text; 0: no text
  bool json = false;
};

struct CompileSettings {
  std::string cpu;                ///< empty: the one at hand
  std::vector<std::string> archs; ///< not empty: kernels for CUDA instead of the CPU's
  bool kernels = true;            ///< false: only as far as the plan
  bool rankPerKernel = false;     ///< CPU kernels each made for one rank
  int64_t sequences = 0;          ///< a program for text, of so many at once; 0: one that trains
  uint64_t otherMemory = 0;       ///< of a run beside weights, arena and scratch
};

/// What came out: the files of generated/<spec>/, with run.json, and the base for other ranks.
struct Compiled {
  std::map<std::string, std::string> files;
  std::string base;
  train::MemoryPlan memory; ///< of a run on this machine
  RunFacts facts;
};

/// Runs the pipeline. Exit::Done only if `out` is whole; DoesNotFit when the plan needs more than
/// `[target] memory`, with the files as far as the plan.
Exit compileProject(const Project &project, const CompileSettings &settings, Compiled &out);

/// Bytes of weights, arena and scratch of the least plan; nothing where it does not compile. Says
/// nothing.
std::optional<uint64_t> leastMemory(const Project &project, const CompileSettings &settings);

/// Threads that have scratch: the spec's, or all that the machine gives; none on a GPU.
int workersOf(const Project &project, const CompileSettings &settings);

/// The files of a program among those that a compilation gave: its plan and its kernels.
std::vector<train::PayloadFile> programFiles(const std::map<std::string, std::string> &files);

/// This compiler and its build: part of what a compiled kernel is known by.
Result<std::string> compilerIdentity();

/// The settings of a command: `--target`, `--arch` and the spec's [target] table.
CompileSettings settingsFor(const CompileOptions &options, const dsl::Spec &spec);

/// generated/<spec>, or what `-o` says.
std::string generatedFolder(const CompileOptions &options, const dsl::Spec &spec);

/// A folder that was written: its binary ("train", or "generate" of a program for text), and its
/// other files.
struct ProgramFolder {
  std::string path, binary;
  std::map<std::string, std::string> files;
  std::string program() const { return path + "/" + binary; }
};

/// Loads, compiles and writes the folder. The program is for text where the options ask for that,
/// the target is a CPU and the adapter no DoRA.
Exit compileToFolder(const CompileOptions &options, Project &project, ProgramFolder &out);

} // namespace lorac::tools
