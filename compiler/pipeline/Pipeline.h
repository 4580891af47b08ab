#pragma once
// Spec -> artifacts: the order of all stages, on one screen in Pipeline.cpp.

#include "compiler/pipeline/IndexWidth.h"
#include "dsl/Check.h"
#include "dsl/Graph.h"
#include "dsl/Spec.h"
#include "runtime/formats/WeightFormat.h"
#include "llvm/Support/LogicalResult.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

/// What a compilation needs; nothing is read from disk.
struct CompileRequest {
  const dsl::Spec *spec = nullptr;
  const dsl::BoundModel *model = nullptr;
  std::vector<dsl::AdapterChoice> adapters;
  std::optional<dsl::RankBudget> ranks; ///< AdaLoRA
  /// For each tensor of the source (Hugging Face name) its format as it is stored. Missing: f32.
  std::map<std::string, formats::WeightFormat> sourceFormats;
  std::string cpu = "native";         ///< CPU name for 60-kernels, as `--cpu` has it
  std::vector<std::string> cudaArchs; ///< sm_80, …: write the CUDA kernels instead of the CPU's
  std::string linker;                 ///< path of ld.lld
  std::string nvrtc;                  ///< path of libnvrtc, "" to look in the usual places
  int threads = 2;                    ///< for compiling kernels
  std::string kernelCache;            ///< folder of compiled kernels, "": none
  std::string compiler;               ///< this compiler and its build, for the cache
  bool kernels = true;                ///< false: stop after 50-planned (`lorac plan`)
  bool dumps = true;                  ///< false: only what a program is made of
  bool onlyLeast = false;     ///< stop with CompileResult::needed of the least plan, and no files
  bool rankPerKernel = false; ///< CPU kernels each made for one rank
  int64_t sequences = 0;      ///< a program for text, of so many at once; 0: one that trains
  /// `[target] memory` is for all of a run: what of it weights, arena and scratch do not get, and
  /// the threads that have scratch.
  uint64_t otherMemory = 0;
  int workers = 1;
  /// The same model at other ranks: CompileResult::base of an earlier compilation, and the rank of
  /// each module that it names. Model, adapters, ranks and source types are those of `base` then.
  std::string_view base;
  std::map<std::string, int64_t> rankPattern;
};

/// Files of generated/<spec>/ by relative name: "10-model.mlir" … "plan.json", "plan.md",
/// "kernels/…", "module.so".
struct CompileResult {
  std::map<std::string, std::string> files;
  /// Bytes of weights, arena and scratch. Where even the least plan needs more than the limit
  /// leaves, `fits` is false, the files are that plan's and no kernels are compiled.
  uint64_t needed = 0;
  bool fits = true;
  int plans = 0, simulations = 0; ///< made and weighed to come to this one
  std::string base; ///< AdaLoRA: 10-model as bytecode, from which it is compiled at other ranks
  /// Kernels (for CUDA, one for each architecture): compiled now, taken from the cache; and how
  /// long that took.
  int compiledKernels = 0, cachedKernels = 0;
  double kernelSeconds = 0;
  /// CUDA: what kernels cannot index. The plan is there, and no kernel was compiled.
  std::optional<IndexFault> indexFault;
};

/// Told each diagnostic: severity ("error", "warning", "remark"), "file:line:column" or "",
/// message.
using DiagnosticSink = std::function<void(const std::string &severity, const std::string &place,
                                          const std::string &message)>;

/// Runs all stages. Failure: the sink has been told.
llvm::FailureOr<CompileResult> compile(const CompileRequest &request, const DiagnosticSink &sink);

} // namespace lorac
