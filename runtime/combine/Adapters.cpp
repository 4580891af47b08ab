#include "runtime/combine/Adapters.h"

#include "runtime/formats/Checked.h"
#include "runtime/formats/ModelIdentity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace lorac::combine {
namespace {

using formats::Adapter;
using formats::AdapterModule;
using formats::shown;

constexpr AdapterMethod methods[] = {
    {"linear", AdapterForm::Factors},
    {"cat", AdapterForm::Concatenated},
};

/// One adapter's part of a module.
struct Part {
  const NamedAdapter *from;
  const AdapterModule *module;
  double weight;

  /// Of B·A in the sum.
  double strength() const { return weight * module->scale; }
};
using Parts = std::vector<Part>;

Result<void> checkDora(const NamedAdapter &from) {
  if (!from.adapter.useDora)
    return {};
  return Error{fmt::format("the adapter '{}' is DoRA's: its magnitudes scale rows of W + B·A, so "
                           "what it changes depends on W and is no product of A and B that could "
                           "be added; combine adapters of plain LoRA or AdaLoRA",
                           from.path),
               Exit::Refused};
}

/// Adapters that say which model they are for must say the same.
Result<void> checkBases(std::span<const NamedAdapter> adapters) {
  const NamedAdapter *first = nullptr;
  for (const NamedAdapter &from : adapters) {
    if (from.adapter.base.empty())
      continue;
    if (!first)
      first = &from;
    if (const std::string different =
            formats::differingFacts(first->adapter.base, from.adapter.base);
        !different.empty())
      return Error{fmt::format("'{}' and '{}' are adapters of different base models: {}",
                               first->path, from.path, different),
                   Exit::ForeignFile};
  }
  return {};
}

/// The parts of each module, in the adapters' order.
Result<std::map<std::string, Parts>> partsOf(std::span<const NamedAdapter> adapters,
                                             std::span<const double> weights) {
  std::map<std::string, Parts> parts;
  for (size_t i = 0; i < adapters.size(); ++i)
    for (const AdapterModule &module : adapters[i].adapter.modules) {
      Parts &of = parts[module.module];
      if (!of.empty() &&
          (of.front().module->in != module.in || of.front().module->out != module.out))
        return Error{fmt::format("module '{}' is [{}, {}] in '{}' and [{}, {}] in '{}': they are "
                                 "adapters of different base models",
                                 shown(module.module), of.front().module->out,
                                 of.front().module->in, of.front().from->path, module.out,
                                 module.in, adapters[i].path),
                     Exit::ForeignFile};
      of.push_back({&adapters[i], &module, weights[i]});
    }
  return parts;
}

Result<void> checkRanks(const Parts &parts, const AdapterMethod &method) {
  for (const Part &part : parts)
    if (part.module->rank != parts.front().module->rank)
      return Error{fmt::format("module '{}' has rank {} in '{}' and {} in '{}', and '{}' adds A to "
                               "A and B to B, which takes one rank; 'cat' and the methods that end "
                               "in 'svd' take different ones",
                               shown(part.module->module), parts.front().module->rank,
                               parts.front().from->path, part.module->rank, part.from->path,
                               method.name),
                   Exit::Refused};
  return {};
}

using Tasks = std::vector<std::vector<float>>;

/// sum of weights[i] · tasks[i]
std::vector<float> weightedSum(const Tasks &tasks, std::span<const float> weights) {
  std::vector<float> sum(tasks.front().size(), 0.0f);
  for (size_t task = 0; task < tasks.size(); ++task)
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += weights[task] * tasks[task][i];
  return sum;
}

/// A and B apart: the root of an adapter's strength goes to each, its sign to A.
Result<AdapterModule> addFactors(const Parts &parts, const AdapterSum &sum) {
  LORAC_TRY(checkRanks(parts, sum.method));
  Tasks a, b;
  std::vector<float> ofA, ofB;
  for (const Part &part : parts) {
    const double root = std::sqrt(std::abs(part.strength()));
    ofA.push_back(float(part.strength() < 0 ? -root : root));
    ofB.push_back(float(root));
    a.push_back(part.module->a);
    b.push_back(part.module->b);
  }
  AdapterModule out;
  out.rank = parts.front().module->rank;
  out.a = weightedSum(a, ofA);
  out.b = weightedSum(b, ofB);
  return out;
}

/// A under A, times its strength, and B beside B.
AdapterModule concatenate(const Parts &parts) {
  AdapterModule out;
  for (const Part &part : parts) {
    out.rank += part.module->rank;
    for (const float value : part.module->a)
      out.a.push_back(float(part.strength()) * value);
  }
  for (int64_t row = 0; row < parts.front().module->out; ++row)
    for (const Part &part : parts) {
      const auto begin = part.module->b.begin() + row * part.module->rank;
      out.b.insert(out.b.end(), begin, begin + part.module->rank);
    }
  return out;
}

Result<AdapterModule> combineModule(const Parts &parts, const AdapterSum &sum) {
  return sum.method.form == AdapterForm::Factors ? addFactors(parts, sum) : concatenate(parts);
}

} // namespace

std::span<const AdapterMethod> adapterMethods() { return methods; }

Result<Adapter> combineAdapters(std::vector<NamedAdapter> adapters, const AdapterSum &given) {
  AdapterSum sum = given;
  if (adapters.size() == 1)
    sum.method = methods[0];
  for (NamedAdapter &from : adapters) {
    LORAC_TRY(checkDora(from));
    from.adapter = formats::foldTriplets(std::move(from.adapter));
  }
  LORAC_TRY(checkBases(adapters));
  LORAC_TRY_ASSIGN(auto modules, partsOf(adapters, sum.weights));
  Adapter out;
  out.r = 0;
  out.dropout = adapters.front().adapter.dropout;
  out.baseModel = adapters.front().adapter.baseModel;
  for (const NamedAdapter &from : adapters)
    if (out.base.empty())
      out.base = from.adapter.base;
  for (const auto &[name, parts] : modules) {
    LORAC_TRY_ASSIGN(AdapterModule module, combineModule(parts, sum));
    module.module = name;
    module.in = parts.front().module->in;
    module.out = parts.front().module->out;
    module.scale = 1;
    out.r = std::max(out.r, module.rank);
    out.modules.push_back(std::move(module));
  }
  out.alpha = double(out.r);
  return out;
}

} // namespace lorac::combine
