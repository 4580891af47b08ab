#pragma once
// adapter_config.json as far as it bears on the update: LoRA's and AdaLoRA's.

#include "runtime/formats/Adapter.h"

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

struct PeftConfig {
  Adapter adapter; ///< without modules; `adaLora` where peft_type is ADALORA
  std::vector<std::pair<std::string, double>> ranks, alphas; ///< LoRA's patterns, in their order
  std::map<std::string, LiveRank> live;                      ///< AdaLoRA's, by module

  /// Of plain LoRA: what the patterns say of the module, else r and lora_alpha.
  double rankOf(const std::string &module) const;
  double alphaOf(const std::string &module) const;
  /// Of plain LoRA: patterns that none of these modules fits, in words.
  std::vector<std::string> unmatchedPatterns(std::span<const std::string> modules) const;
};

/// Errors, Exit::ForeignFile: methods other than these two and switches that this version does not
/// know, by name.
Result<PeftConfig> readPeftConfig(const std::string &path);

/// Before every name of PEFT's.
constexpr std::string_view peftPrefix = "base_model.model.";

} // namespace lorac::formats
