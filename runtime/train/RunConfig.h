#pragma once
// run.json, the effective spec, as the runtime needs it: its keys, defaults and bounds are those of
// dsl/Spec.h. What only the compiler needs is kept as JSON for the fingerprint.

#include "runtime/Result.h"
#include "runtime/formats/ModelIdentity.h"
#include "runtime/train/Schedule.h"
#include "runtime/train/ranks/PruningPace.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorac::train {

struct DataConfig {
  std::string name;
  std::vector<std::string> paths; ///< files or patterns
  std::string format;             ///< a word of dsl/DataFormats.def
  bool formatStated = true;       ///< else it follows from the files' names
  std::string separator;
  double evalFraction = 0;
  std::string overlong; ///< split | truncate | error
};

/// `[adapter.adalora]`; budgets and bounds are numbers of the model, so they are not here.
struct AdaLoraConfig {
  int64_t tinit = 0, tfinal = 0, deltaT = 1;
  double beta1 = 0, beta2 = 0, orthRegWeight = 0;
  PruneMode prune = PruneMode::Bucketed;
  bool rebuildAlways = false; ///< a program for each allocation where something died
  std::optional<PlateauSettings> plateau;
};

struct RunConfig {
  std::string json; ///< the whole of run.json

  std::string spec, specDir;
  std::string modelSource; ///< "": weights are drawn from the seed
  /// Which model the program was compiled for; none in a run.json that no compiler wrote.
  std::optional<formats::ModelIdentity> identity;
  std::string adapterMethod, initFrom;
  int64_t r = 0; ///< AdaLoRA: init_r
  double loraAlpha = 0, loraDropout = 0;
  bool useRslora = false, useDora = false, useGate = false;
  double loraPlusRatio = 1;
  std::optional<AdaLoraConfig> adalora; ///< there with method "adalora"

  std::string optimizer; ///< its word in a spec
  double learningRate = 0, weightDecay = 0, maxGradNorm = 0;
  std::vector<double> betas; ///< two; none where the optimizer has none
  double eps = 0;            ///< 0: the optimizer has none
  ScheduleCurve schedule = ScheduleName::Cosine;
  int64_t warmupSteps = 0;
  double warmupRatio = 0;

  std::vector<DataConfig> data;

  std::string outputDir;
  int64_t steps = 0; ///< 0: by epochs
  double epochs = 0;
  int64_t batchSize = 1, maxLength = 1, accumulation = 1;
  bool packing = true;
  uint64_t seed = 0;
  int64_t evalSteps = 0, saveSteps = 0, loggingSteps = 1;
  int64_t saveTotalLimit = 0; ///< checkpoints that stay; 0: all
  int64_t threads = 0;        ///< 0: all cores
  uint64_t memory = 0;        ///< bytes that the run may take; 0: no limit
};

Result<RunConfig> parseRunConfig(std::string_view json);

/// The keys of run.json that decide the numbers of a run, flat ("optimizer.learning_rate"), values
/// as JSON text. Left out: where files lie, how often something is written, threads.
std::vector<std::pair<std::string, std::string>> fingerprint(const RunConfig &config);

} // namespace lorac::train
