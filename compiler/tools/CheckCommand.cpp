// `lorac check`: everything that can be known before compiling.

#include "compiler/tools/Driver.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "dsl/SpecJson.h"

#include <set>

namespace lorac::tools {
namespace {

/// What the adapters add, in one line.
std::string summary(const Project &project) {
  long long parameters = project.ranks ? project.ranks->initial : 0; // AdaLoRA's E
  std::set<int64_t> ranks;
  for (const dsl::AdapterChoice &adapter : project.adapters) {
    ranks.insert(adapter.r);
    for (const dsl::BoundWeight &weight : project.model.weights)
      for (int64_t layer = 0; layer < (weight.perLayer ? project.model.layers : 1); ++layer)
        if (weight.shape.size() == 2 && weight.module(layer) == adapter.module)
          parameters += adapter.r * (weight.shape[0] + weight.shape[1]);
  }
  std::string text = project.spec.path + " is right: " + project.model.architecture + " of " +
                     std::to_string(project.model.layers) + " layers, " +
                     std::to_string(project.adapters.size()) + " adapted modules, " +
                     grouped(parameters) + " trainable parameters";
  if (project.ranks)
    return text + ", ranks in all " + std::to_string(project.ranks->initial) + " falling to " +
           std::to_string(project.ranks->target) + "\n";
  if (ranks.size() == 1)
    text += ", rank " + std::to_string(*ranks.begin());
  return text + "\n";
}

} // namespace

Exit runCheck(const CheckOptions &options) {
  Project project;
  dsl::Diagnostics diags;
  Exit code = loadProject(options.spec, project, diags);
  if (options.json) {
    print(diags.json() + "\n");
    return code;
  }
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (code == Exit::Done)
    print(options.effective ? dsl::toToml(project.spec) : summary(project));
  return code;
}

} // namespace lorac::tools
