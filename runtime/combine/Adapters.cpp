#include "runtime/combine/Adapters.h"

#include "runtime/combine/Factors.h"
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

constexpr AdapterMethod linear = {"linear", AdapterForm::Factors};
constexpr AdapterMethod methods[] = {
    {"svd", AdapterForm::Update},
    linear,
    {"cat", AdapterForm::Concatenated},
    {"ties", AdapterForm::Factors, Pruning::Magnitude, true},
    {"ties_svd", AdapterForm::Update, Pruning::Magnitude, true},
    {"dare_ties", AdapterForm::Factors, Pruning::Random, true},
    {"dare_linear", AdapterForm::Factors, Pruning::Random},
    {"dare_ties_svd", AdapterForm::Update, Pruning::Random, true},
    {"dare_linear_svd", AdapterForm::Update, Pruning::Random},
    {"magnitude_prune", AdapterForm::Factors, Pruning::Magnitude},
    {"magnitude_prune_svd", AdapterForm::Update, Pruning::Magnitude},
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

Result<void> checkMethod(const NamedAdapter &from) {
  const formats::AdapterLayout &method = from.adapter.layout();
  if (method.foldsToLora)
    return {};
  return Error{fmt::format("the adapter '{}' is {}'s: its {} scale rows of W + B·A, so what it "
                           "changes depends on W and is no product of A and B that could be "
                           "added; combine adapters of plain LoRA or AdaLoRA",
                           from.path, method.name, method.own()->words),
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
      return Error{
          fmt::format("its rank is {} in '{}' and {} in '{}', and '{}' adds A to A and B "
                      "to B, which takes one rank; 'cat' and the methods that end in 'svd' "
                      "take different ones",
                      parts.front().module->rank, parts.front().from->path, part.module->rank,
                      part.from->path, method.name),
          Exit::Refused};
  return {};
}

int signOf(float value) { return value > 0 ? 1 : value < 0 ? -1 : 0; }

/// Of each element the mean of the weighted values whose sign is the majority's, before weights; a
/// tie is positive.
std::vector<float> agreeingMean(const Tasks &tasks, std::span<const float> weights,
                                MajoritySign majority) {
  std::vector<float> out(tasks.front().size());
  for (size_t i = 0; i < out.size(); ++i) {
    float votes = 0, sum = 0;
    for (const std::vector<float> &task : tasks)
      votes += majority == MajoritySign::Total ? task[i] : float(signOf(task[i]));
    const int sign = votes >= 0 ? 1 : -1;
    int agreeing = 0;
    for (size_t task = 0; task < tasks.size(); ++task)
      if (signOf(tasks[task][i]) == sign) {
        sum += weights[task] * tasks[task][i];
        ++agreeing;
      }
    out[i] = sum / float(std::max(agreeing, 1));
  }
  return out;
}

/// One tensor of each adapter, thinned out and added. `tensor` tells one draw from another.
std::vector<float> mix(Tasks tasks, std::span<const float> weights, const AdapterSum &sum,
                       const std::string &tensor) {
  for (size_t task = 0; task < tasks.size() && sum.density < 1; ++task) {
    std::vector<float> &values = tasks[task];
    if (sum.method.pruning == Pruning::Magnitude)
      keepByMagnitude(values, 0, int64_t(sum.density * double(values.size())));
    if (sum.method.pruning == Pruning::Random) {
      const std::vector<uint8_t> mask =
          drawn(int64_t(values.size()), sum.density,
                train::RandomStream(sum.seed, fmt::format("combine {} {}", task, tensor)));
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = mask[i] ? values[i] / float(sum.density) : 0.0f;
    }
  }
  return sum.method.elects ? agreeingMean(tasks, weights, sum.majority)
                           : weightedSum(tasks, weights);
}

/// A and B apart: the root of an adapter's strength goes to each, its sign to A.
Result<Factors> addFactors(const Parts &parts, const AdapterSum &sum) {
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
  Factors out;
  out.rank = parts.front().module->rank;
  const std::string &name = parts.front().module->module;
  out.a = mix(std::move(a), ofA, sum, name + ".lora_A");
  out.b = mix(std::move(b), ofB, sum, name + ".lora_B");
  return out;
}

/// A under A, times its strength, and B beside B.
Factors concatenate(const Parts &parts) {
  Factors out;
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

/// The updates themselves, each with its scale, and of their sum what an SVD keeps.
Result<Factors> addUpdates(const Parts &parts, const AdapterSum &sum) {
  const AdapterModule &first = *parts.front().module;
  if (sum.method.pruning == Pruning::None)
    return nearest(concatenate(parts), first.out, first.in, sum.svdRank);
  Tasks updates;
  std::vector<float> weights;
  for (const Part &part : parts) {
    const AdapterModule &module = *part.module;
    updates.push_back(
        product({module.rank, module.a, module.b}, module.out, module.in, module.scale));
    weights.push_back(float(part.weight));
  }
  return nearest(mix(std::move(updates), weights, sum, first.module), first.out, first.in,
                 sum.svdRank);
}

Result<Factors> combineModule(const Parts &parts, const AdapterSum &sum) {
  switch (sum.method.form) {
  case AdapterForm::Factors:
    return addFactors(parts, sum);
  case AdapterForm::Concatenated:
    return concatenate(parts);
  case AdapterForm::Update:
    return addUpdates(parts, sum);
  }
  return Error{fmt::format("'{}' has no form", sum.method.name), Exit::Bug};
}

} // namespace

std::span<const AdapterMethod> adapterMethods() { return methods; }

Result<Adapter> combineAdapters(std::vector<NamedAdapter> adapters, const AdapterSum &given) {
  AdapterSum sum = given;
  if (adapters.size() == 1)
    sum.method = linear;
  for (NamedAdapter &from : adapters) {
    LORAC_TRY(checkMethod(from));
    from.adapter = formats::foldTriplets(std::move(from.adapter));
  }
  LORAC_TRY(checkBases(adapters));
  if (sum.svdRank == 0)
    for (const NamedAdapter &from : adapters)
      for (const AdapterModule &module : from.adapter.modules)
        sum.svdRank = std::max(sum.svdRank, module.rank);
  LORAC_TRY_ASSIGN(auto modules, partsOf(adapters, sum.weights));
  Adapter out;
  out.r = 0;
  out.dropout = adapters.front().adapter.dropout;
  out.baseModel = adapters.front().adapter.baseModel;
  for (const NamedAdapter &from : adapters)
    if (out.base.empty())
      out.base = from.adapter.base;
  for (const auto &[name, parts] : modules) {
    Result<Factors> factors = combineModule(parts, sum);
    if (!factors)
      return Error{fmt::format("module '{}': {}", shown(name), factors.error().message),
                   factors.error().code};
    out.r = std::max(out.r, factors->rank);
    out.modules.push_back({.module = name,
                           .rank = factors->rank,
                           .in = parts.front().module->in,
                           .out = parts.front().module->out,
                           .scale = 1,
                           .a = std::move(factors->a),
                           .b = std::move(factors->b)});
  }
  out.alpha = double(out.r);
  return out;
}

} // namespace lorac::combine
