#pragma once
// An architecture bound to numbers: what the compiler's frontend turns into 10-model. No MLIR here.

#include "dsl/Source.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace lorac::dsl {

enum class GraphOp {
  Embed,
  RmsNorm,
  Linear,
  Heads,
  Rope,
  Attention,
  Silu,
  Add,
  Sub,
  Mul,
  Neg,
  Scale
};
std::string_view toString(GraphOp);

/// One operation of a section, in the order of evaluation.
struct GraphNode {
  GraphOp op;
  /// Ids of earlier nodes of the section; SectionInput: x as it comes in; TokenIds: the ids (Embed
  /// only).
  std::vector<int> inputs;
  std::string weight;         ///< key of a BoundWeight: Embed, RmsNorm, Linear; else empty
  std::vector<int64_t> shape; ///< of the result without the tokens dimension: {576} or {9, 64}
  double number = 0;          ///< Scale: the factor
  bool causal = false;        ///< Attention
  SourceRange range;          ///< of the expression, inside the architecture's TOML
  std::string name;           ///< the variable that it is assigned to, or ""
};

constexpr int SectionInput = -1;
constexpr int TokenIds = -2;

/// Embed gives x: {hidden_size}; block takes and gives x; head takes x and gives logits:
/// {vocab_size}.
struct GraphSection {
  std::vector<GraphNode> nodes;
  int output = SectionInput; ///< id of a node
};

enum class WeightKind { Linear, Embedding, Head, Norm };
std::string_view toString(WeightKind);

struct BoundWeight {
  std::string key; ///< q_proj
  WeightKind kind = WeightKind::Linear;
  std::vector<int64_t> shape; ///< [out, in], or [n] of a norm
  bool perLayer = false;      ///< its names hold {layer}
  std::string hfTemplate;     ///< model.layers.{layer}.self_attn.q_proj.weight
  std::string ggufTemplate;   ///< blk.{layer}.attn_q.weight
  int64_t permuteHeads =
      0;              ///< heads of a row permutation that GGUF applies (q, k of a Llama); 0: none
  std::string tiedTo; ///< key of the weight whose tensor this one shares; empty: its own
  SourceRange range;

  std::string hfName(int64_t layer = 0) const; ///< the template filled in
  std::string ggufName(int64_t layer = 0) const;
  /// The Hugging Face module: hfName without ".weight".
  std::string module(int64_t layer = 0) const;
};

struct BoundModel {
  std::string architecture;            ///< "llama"
  std::map<std::string, double> hyper; ///< all symbols; truths as 0 and 1
  int64_t layers = 0, hiddenSize = 0, vocabSize = 0, headDim = 0,
          maxPositions = 0; ///< maxPositions 0: not stated
  double rmsNormEps = 0, ropeTheta = 0;
  bool tied = false; ///< the head is the embedding
  std::vector<BoundWeight> weights;
  GraphSection embed, block, head;

  const BoundWeight *weight(std::string_view key) const;
  /// Modules that may carry an adapter: the linears of the blocks, layer by layer, in the order of
  /// the graph.
  std::vector<std::string> adaptableModules() const;
};

} // namespace lorac::dsl
