#pragma once
// One adapter from several: PEFT's add_weighted_adapter.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::combine {

/// What is added.
enum class AdapterForm {
  Factors,      ///< A to A and B to B: all of one rank
  Concatenated, ///< A under A and B beside B: the ranks add up
};

/// A combination type of PEFT's.
struct AdapterMethod {
  std::string_view name;
  AdapterForm form;
};

/// Those there are, in PEFT's order.
std::span<const AdapterMethod> adapterMethods();

struct AdapterSum {
  AdapterMethod method;
  std::vector<double> weights; ///< one an adapter; less than 0 subtracts
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
