#pragma once
// adapter_config.json as far as it bears on the update: LoRA's and AdaLoRA's.

#include "runtime/formats/Adapter.h"
#include "runtime/formats/ModulePattern.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorac::formats {

/// What AdaLoRA's rank_pattern says of a module.
struct LiveRank {
  std::optional<std::vector<bool>> alive; ///< by triplet of the start; none: only the count is told
  int64_t count = 0;
};

/// A key of LoRA's rank_pattern or alpha_pattern, and what the modules have that it matches.
struct PatternValue {
  std::string key;
  double value = 0;
  ModulePattern pattern{};
};

struct PeftConfig {
  Adapter adapter; ///< without modules; `adaLora` where peft_type is ADALORA
  std::vector<PatternValue> ranks, alphas; ///< in their order: the first that matches counts
  std::map<std::string, LiveRank> live;    ///< AdaLoRA's, by module

  /// Of plain LoRA: what the patterns say of the module, else r and lora_alpha. The error: a
  /// pattern that takes too much effort, with `path`.
  Result<double> rankOf(const std::string &module, const std::string &path) const;
  Result<double> alphaOf(const std::string &module, const std::string &path) const;
  /// Of plain LoRA: patterns that none of these modules fits, in words.
  std::vector<std::string> unmatchedPatterns(std::span<const std::string> modules) const;
};

/// Errors, Exit::ForeignFile: methods other than these two and switches that this version does not
/// know, by name.
Result<PeftConfig> readPeftConfig(const std::string &path);

/// Before every name of PEFT's.
constexpr std::string_view peftPrefix = "base_model.model.";

} // namespace lorac::formats
