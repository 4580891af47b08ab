#include "dsl/Graph.h"

#include <set>

namespace lorac::dsl {

std::string_view toString(GraphOp op) {
  static constexpr std::string_view words[] = {"embed", "row",  "number",    "rms_norm", "linear",
                                               "heads", "rope", "attention", "add",      "sub",
                                               "mul",   "div",  "neg",       "function"};
  return words[static_cast<int>(op)];
}

std::string_view toString(WeightKind kind) {
  static constexpr std::string_view words[] = {"linear", "embedding", "head", "norm", "row"};
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
  std::vector<std::string> modules;
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::set<std::string> seen;
    for (const GraphNode &node : block(layer).nodes)
      if (node.op == GraphOp::Linear && seen.insert(node.weight).second)
        modules.push_back(weight(node.weight)->module(layer));
  }
  return modules;
}

} // namespace lorac::dsl
