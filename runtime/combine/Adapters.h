#pragma once
// One adapter from several: PEFT's add_weighted_adapter.

#include "runtime/Result.h"
#include "runtime/combine/TaskVectors.h"
#include "runtime/formats/Adapter.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::combine {

/// What is added.
enum class AdapterForm {
  Factors,      ///< A to A and B to B: all of one rank
  Concatenated, ///< A under A and B beside B: the ranks add up
  Update,       ///< B·A to B·A, and an SVD makes factors of the sum
};

/// A combination type of PEFT's.
struct AdapterMethod {
  std::string_view name;
  AdapterForm form;
  Pruning pruning = Pruning::None;
  /// Of each element the sign is elected, and the mean goes over those that have it (TIES).
  bool elects = false;
};

/// Those there are, in PEFT's order.
std::span<const AdapterMethod> adapterMethods();

/// What decides on an element's sign.
enum class MajoritySign {
  Total,     ///< the sum of the values
  Frequency, ///< how many are positive, how many negative
};

struct AdapterSum {
  AdapterMethod method;
  std::vector<double> weights; ///< one an adapter; less than 0 subtracts
  double density = 1;          ///< the part of each tensor that pruning keeps, above 0
  MajoritySign majority = MajoritySign::Total;
  int64_t svdRank = 0; ///< 0: the largest rank of the adapters
  uint64_t seed = 0;   ///< of the draws of Pruning::Random
};

struct NamedAdapter {
  std::string path; ///< for messages
  formats::Adapter adapter;
};

/// The sum: plain LoRA, each module of scale 1, r and alpha the largest rank. A module that some
/// adapters lack is the sum of the others'. A single adapter is scaled by its weight, whatever the
/// method, as PEFT does. Errors name adapters and module: DoRA (Exit::Refused); modules of two
/// shapes, adapters of different bases (Exit::ForeignFile); ranks that differ where A and B are
/// added apart (Exit::Refused).
Result<formats::Adapter> combineAdapters(std::vector<NamedAdapter> adapters, const AdapterSum &sum);

} // namespace lorac::combine
