#pragma once
// Inverse frequencies of rotary positions: every way to scale them is here.

#include "dsl/Graph.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::dsl {

enum class RopeType { Plain, Linear, Llama3 };
/// By its word in a model's files, where "default" and "none" are plain; nothing for a type that
/// this version does not have.
std::optional<RopeType> ropeTypeOf(std::string_view word);

/// What `[rope.NAME]` says, as numbers. 0: not stated.
struct RopeNumbers {
  int64_t dim = 0;
  double theta = 0;
  RopeType type = RopeType::Plain;
  double factor = 0, lowFreqFactor = 0, highFreqFactor = 0, originalPositions = 0;
  std::vector<float> divisors; ///< of a GGUF's tensor; empty: none
};

/// In float32, step by step as transformers does. Nothing where the numbers do not fit the type;
/// `wrong` says why.
std::optional<std::vector<float>> inverseFrequencies(const RopeNumbers &rope, std::string &wrong);

} // namespace lorac::dsl
