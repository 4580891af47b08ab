#pragma once
// The command line of a train binary.

#include "runtime/Result.h"
#include "runtime/train/Sampler.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lorac::train {

enum class Mode { Train, Eval, Generate };

struct Arguments {
  Mode mode = Mode::Train;
  int64_t steps = 0; ///< 0: the spec's
  int threads = 0;   ///< 0: the spec's
  bool resume = false, overwrite = false, quiet = false, json = false;
  std::string out, model, metrics, profile, adapter, logits;
  std::string lorac; ///< which builds programs for ranks that fell; "": looked for
  bool allowFixedRanks = false;
  std::vector<std::pair<std::string, std::string>> data; ///< name, path
  int64_t samples = 0;                                   ///< eval: 0: all
  std::vector<std::string> prompts, stops;
  int64_t maxNewTokens = 64;
  SamplerConfig sampler;
};

/// Arguments, or an exit code and what there is to print (help, version; nothing after a usage
/// error, which has been said).
struct Parsed {
  std::optional<Arguments> arguments;
  int exitCode = 0;
  std::string text;
};
Parsed parseArguments(int argc, const char *const *argv);

/// The words that go on with a stopped run: argv with --resume and without --overwrite, quoted for
/// a shell.
std::string resumeCommand(int argc, const char *const *argv);

} // namespace lorac::train
