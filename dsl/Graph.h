#pragma once
// An architecture bound to numbers: what the compiler's frontend turns into 10-model. No MLIR here.

#include "dsl/Source.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace lorac::dsl {

struct Function;

enum class GraphOp {
  Embed,
  Row,    ///< a weight of kind "row", for all tokens
  Number, ///< an operand of the elementwise ops
  RmsNorm,
  Linear,
  Heads,
  Rope,
  Attention,
  Add,
  Sub,
  Mul,
  Div,
  Neg,
  Function
};
std::string_view toString(GraphOp);
/// Elementwise: from Add on.
inline bool isElementwise(GraphOp op) { return op >= GraphOp::Add; }

/// One operation of a section, in the order of evaluation.
struct GraphNode {
  GraphOp op;
  /// Ids of earlier nodes of the section; SectionInput: x as it comes in; TokenIds: the ids (Embed
  /// only).
  std::vector<int> inputs;
  std::string weight;         ///< key of a BoundWeight: Embed, Row, RmsNorm, Linear; else empty
  std::vector<int64_t> shape; ///< of the result without the tokens dimension: {576} or {9, 64}
  double number = 0;          ///< Number: its value; RmsNorm: eps; Attention: the scale
  int64_t window = 0;         ///< Attention: keys that a query sees, its own among them; 0: all
  double softcap = 0;         ///< Attention: 0: none
  const Function *function = nullptr; ///< Function: its row of Functions.def
  std::string frequencies;            ///< Rope: their name
  SourceRange range;                  ///< of the expression, inside the architecture's TOML
  std::string name;                   ///< the variable that it is assigned to, or ""
};

constexpr int SectionInput = -1;
constexpr int TokenIds = -2;

/// Embed gives x: {hidden_size}; block takes and gives x; head takes x and gives logits:
/// {vocab_size}.
struct GraphSection {
  std::string kind; ///< of blocks of several kinds: local
  std::vector<GraphNode> nodes;
  int output = SectionInput;  ///< id of a node
  int product = SectionInput; ///< head: the product with its weight; what follows is elementwise
};

enum class WeightKind { Linear, Embedding, Head, Norm, Row };
std::string_view toString(WeightKind);
inline bool isVector(WeightKind kind) {
  return kind == WeightKind::Norm || kind == WeightKind::Row;
}

struct BoundWeight {
  std::string key; ///< q_proj
  WeightKind kind = WeightKind::Linear;
  std::vector<int64_t> shape; ///< [out, in], or [n] of a norm or a row
  bool perLayer = false;      ///< its names hold {layer}
  std::string hfTemplate;     ///< model.layers.{layer}.self_attn.q_proj.weight
  std::string ggufTemplate;   ///< blk.{layer}.attn_q.weight
  /// Heads of a row permutation that GGUF applies (q, k of a Llama); 0: none.
  int64_t permuteHeads = 0;
  double hfAdd = 0;   ///< what a Hugging Face folder's numbers lack
  std::string tiedTo; ///< key of the weight whose tensor this one shares; empty: its own
  SourceRange range;

  std::string hfName(int64_t layer = 0) const; ///< the template filled in
  std::string ggufName(int64_t layer = 0) const;
  /// The Hugging Face module: hfName without ".weight".
  std::string module(int64_t layer = 0) const;
  bool isVector() const { return dsl::isVector(kind); }
};

/// By how much each pair of a head turns from one position to the next (dsl/Rope.h).
struct RopeFrequencies {
  std::string name;
  std::vector<float> inverse; ///< of half the head
  double factor = 1;          ///< of cosines and sines
};

struct BoundModel {
  std::string architecture;                 ///< "llama"
  std::map<std::string, double> hyper;      ///< all symbols that are numbers; truths as 0 and 1
  std::map<std::string, std::string> words; ///< those that are words
  int64_t layers = 0, hiddenSize = 0, vocabSize = 0,
          maxPositions = 0; ///< maxPositions 0: not stated
  bool tied = false;        ///< the head is the embedding
  std::vector<BoundWeight> weights;
  std::vector<RopeFrequencies> ropes;
  std::string ropeDivisors;    ///< a tensor of a GGUF that scales frequencies, or ""
  std::vector<float> divisors; ///< its numbers; empty: the file has none
  GraphSection embed, head;
  std::vector<GraphSection> blocks; ///< one a kind
  std::vector<int> kindOfLayer;     ///< an index of `blocks` a layer

  const GraphSection &block(int64_t layer) const { return blocks[kindOfLayer[layer]]; }
  const BoundWeight *weight(std::string_view key) const;
  /// Modules that may carry an adapter: the linears of the blocks, layer by layer, in the order of
  /// the graph.
  std::vector<std::string> adaptableModules() const;
};

} // namespace lorac::dsl
