#include "dsl/Graph.h"

#include <set>

namespace lorac::dsl {

std::string_view toString(GraphOp op) {
  static constexpr std::string_view words[] = {"embed", "rms_norm",  "linear", "heads",
                                               "rope",  "attention", "silu",   "add",
                                               "sub",   "mul",       "neg",    "scale"};
  return words[static_cast<int>(op)];
}

std::string_view toString(WeightKind kind) {
  static constexpr std::string_view words[] = {"linear", "embedding", "head", "norm"};
  return words[static_cast<int>(kind)];
}

static std::string fill(std::string text, int64_t layer) {
  if (size_t at = text.find("{layer}"); at != std::string::npos)
    text.replace(at, 7, std::to_string(layer));
  return text;
}

std::string BoundWeight::hfName(int64_t layer) const { return fill(hfTemplate, layer); }
std::string BoundWeight::ggufName(int64_t layer) const { return fill(ggufTemplate, layer); }

std::string BoundWeight::module(int64_t layer) const {
  std::string name = hfName(layer);
  if (name.ends_with(".weight"))
    name.resize(name.size() - 7);
  return name;
}

const BoundWeight *BoundModel::weight(std::string_view key) const {
  for (const BoundWeight &weight : weights)
    if (weight.key == key)
      return &weight;
  return nullptr;
}

std::vector<std::string> BoundModel::adaptableModules() const {
  std::vector<const BoundWeight *> linears;
  std::set<std::string> seen;
  for (const GraphNode &node : block.nodes)
    if (node.op == GraphOp::Linear && seen.insert(node.weight).second)
      linears.push_back(weight(node.weight));
  std::vector<std::string> modules;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (const BoundWeight *linear : linears)
      modules.push_back(linear->module(layer));
  return modules;
}

} // namespace lorac::dsl
