#include "compiler/tools/AdapterProgram.h"

#include "compiler/tools/Output.h"
#include "runtime/formats/Adapter.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <map>

namespace lorac::tools {
namespace {

using formats::WantedAdapter;

/// Every module that may be adapted, of any rank.
std::map<std::string, WantedAdapter> modulesOf(const dsl::BoundModel &model) {
  std::map<std::string, WantedAdapter> shapes, adaptable;
  for (const dsl::BoundWeight &weight : model.weights)
    for (int64_t layer = 0;
         weight.shape.size() == 2 && layer < (weight.perLayer ? model.layers : 1); ++layer) {
      const std::string name = weight.module(layer);
      shapes[name] = {name, std::numeric_limits<int64_t>::max(), weight.shape[1], weight.shape[0]};
    }
  for (const std::string &name : model.adaptableModules())
    if (auto found = shapes.find(name); found != shapes.end())
      adaptable.insert(*found);
  return adaptable;
}

std::vector<WantedAdapter> programOf(const Project &project) {
  const std::map<std::string, WantedAdapter> modules = modulesOf(project.model);
  std::vector<WantedAdapter> program;
  for (const dsl::AdapterChoice &choice : project.adapters)
    if (auto found = modules.find(choice.module); found != modules.end()) {
      program.push_back(found->second);
      program.back().rank = choice.r;
    }
  return program;
}

int64_t largestRank(const formats::Adapter &adapter) {
  int64_t most = 0;
  for (const formats::AdapterModule &module : adapter.modules)
    most = std::max(most, module.rank);
  return most;
}

/// [adapter] as it would have to be written for this adapter.
dsl::AdapterSpec specOf(const formats::Adapter &adapter, const dsl::AdapterSpec &written,
                        const dsl::SourceRange &range) {
  dsl::AdapterSpec spec;
  spec.range = range;
  spec.loraDropout = written.loraDropout; // has no part in evaluation
  // A file alone does not tell its scale: the spec's alpha counts.
  spec.useRslora = adapter.isAlone ? written.useRslora : dsl::Field<bool>{adapter.useRslora, range};
  spec.useDora = {adapter.useDora, range};
  spec.useGate = {adapter.useGate, range};
  const auto alphaOf = [&](const formats::AdapterModule &module) {
    if (adapter.isAlone)
      return *written.loraAlpha;
    return module.scale * (*spec.useRslora ? std::sqrt(double(module.rank)) : double(module.rank));
  };
  const formats::AdapterModule &first = adapter.modules.front();
  spec.r = {first.rank, range};
  spec.loraAlpha = {alphaOf(first), range};
  spec.targetModules.value.clear();
  spec.targetModules.range = range;
  for (const formats::AdapterModule &module : adapter.modules) {
    spec.targetModules.value.push_back({module.module, range});
    if (module.rank == *spec.r && alphaOf(module) == *spec.loraAlpha)
      continue;
    dsl::AdapterRule &rule = spec.rules.emplace_back();
    rule.range = range;
    rule.modules = {{{module.module, range}}, range};
    rule.r = {module.rank, range};
    rule.loraAlpha = {alphaOf(module), range};
  }
  return spec;
}

Result<void> checkMethod(const formats::Adapter &adapter, const Project &project,
                         const std::string &path) {
  const dsl::AdapterSpec &spec = project.spec.adapter;
  LORAC_TRY(formats::checkMagnitudes(adapter, *spec.useDora, spec.adalora.has_value(), path));
  return formats::checkGates(adapter, *spec.useGate, path);
}

} // namespace

Exit checkInitFrom(const Project &project, dsl::Diagnostics &diags) {
  const dsl::Field<std::string> &from = project.spec.adapter.initFrom;
  if (!from.given())
    return Exit::Done;
  const std::string path = project.spec.resolve(*from);
  Result<formats::Adapter> adapter = formats::readAdapter(path);
  if (!adapter) {
    diags.error(from.range, adapter.error().message);
    return adapter.error().code;
  }
  Result<void> fits = checkMethod(*adapter, project, path);
  if (fits)
    fits = formats::checkAdapter(
        *adapter, programOf(project), path,
        fmt::format("set the rank in [adapter] to {}", largestRank(*adapter)));
  if (fits)
    return Exit::Done;
  diags.error(from.range, fits.error().message);
  return fits.error().code;
}

Exit fitAdapter(const std::string &path, Project &project, bool &isOther) {
  isOther = false;
  Result<formats::Adapter> adapter = formats::readAdapter(path);
  if (!adapter)
    return fail(adapter.error());
  if (checkMethod(*adapter, project, path) &&
      formats::checkAdapter(*adapter, programOf(project), path, ""))
    return Exit::Done;
  std::vector<WantedAdapter> anyRank;
  for (auto &[name, module] : modulesOf(project.model))
    anyRank.push_back(module);
  if (Result<void> fits = formats::checkAdapter(*adapter, anyRank, path, ""); !fits)
    return fail(fits.error());
  isOther = true;
  const formats::Adapter plain = formats::foldTriplets(std::move(*adapter));
  dsl::Spec &spec = project.spec;
  const dsl::SourceRange range = spec.adapter.range ? spec.adapter.range : spec.model.range;
  spec.adapter = specOf(plain, spec.adapter, range);
  project.ranks.reset();
  dsl::Diagnostics diags;
  project.adapters = dsl::resolveAdapters(spec, project.model.adaptableModules(), diags);
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  return diags.hasErrors() ? Exit::ForeignFile : Exit::Done;
}

} // namespace lorac::tools
