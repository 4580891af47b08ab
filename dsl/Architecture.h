#pragma once
// An architecture described in TOML (specs/architectures/*.toml): symbols, weights and three
// graphs, not yet bound to numbers.

#include "dsl/Diagnostics.h"
#include "dsl/Graph.h"
#include "dsl/GraphParser.h"
#include "dsl/Spec.h"

#include <functional>
#include <optional>

namespace lorac::dsl {

enum class HyperType { Integer, Number, Bool, Word };

/// `[hyper]`: one symbol, and where foreign files keep it.
struct HyperDecl {
  std::string name;
  HyperType type = HyperType::Integer;
  /// Names in config.json, dots for nesting; the first that is there counts.
  std::vector<std::string> hf;
  std::vector<std::string> gguf; ///< keys; {arch} is the file's general.architecture
  std::string ggufAbsentTensor;  ///< Bool: true when the GGUF has no such tensor
  Expr fallback;                 ///< default in terms of symbols above it; kind None: required
  Expr ggufFallback;             ///< the default of GGUF files, where it is another
  Expr when; ///< where it is 0 nobody asks: files may say what they like; kind None: always
  bool maybeZero = false;         ///< `least = 0`: 0 is a value too, mostly "none", as null says it
  std::vector<std::string> words; ///< Word: `values`; the first is the default
  SourceRange range;

  const Expr &defaultOf(bool isGguf) const {
    return isGguf && ggufFallback.kind != ExprKind::None ? ggufFallback : fallback;
  }
};

/// `[rope.NAME]`: numbers as expressions; `type` is the name of a symbol of type "word".
struct RopeDecl {
  std::string name;
  Expr dim, theta, factor, lowFreqFactor, highFreqFactor, originalPositions;
  std::string type;         ///< or "": nothing is scaled
  std::string ggufDivisors; ///< a tensor that GGUF files may hold: divides the frequencies
  SourceRange range;
};

/// A kind of block: `[block]` itself, or `[block.NAME]`.
struct BlockDecl {
  std::string name;
  Expr when;               ///< of `layer`, for the layers of this kind; kind None: all others
  std::string hfLayerType; ///< its word in config.json's `layer_types`, where that is stated
  GraphAst graph;
  SourceRange range;
};

/// `[expects]`: what foreign files must hold where they say anything about it, as in
/// hidden_act = "silu".
struct Expectation {
  std::string name;
  std::vector<std::string> hf, gguf;
  std::string ggufAbsentTensor;   ///< a tensor that the GGUF must not have
  std::vector<HyperValue> values; ///< any of them; empty: the keys must be absent
  std::string why;                ///< for the message
  SourceRange range;
};

/// `[weights]`.
struct WeightDecl {
  std::string key;
  WeightKind kind = WeightKind::Linear;
  std::vector<Expr> shape;
  std::string hf, gguf;
  Expr permuteHeads;  ///< `permute = "rope"` with `heads = "n_heads"`; kind None: none
  double hfAdd = 0;   ///< `hf_add`: what the reader adds to a Hugging Face folder's numbers
  std::string tiedTo; ///< `tied = "embed_tokens"`: shares it when tie_word_embeddings is true
  SourceRange range;
};

struct Architecture {
  std::string name;
  std::vector<std::string> hfModelTypes;      ///< config.json's model_type
  std::vector<std::string> ggufArchitectures; ///< general.architecture
  std::string ggufAdapters; ///< `gguf_adapters`: general.architecture of exported adapters, where
                            ///< no GGUF of the model has this architecture's name
  std::vector<HyperDecl> hyper;
  std::vector<Expectation> expects;
  /// `[harmless]`: keys of the model's files that bear on nothing that is computed here.
  std::vector<std::string> harmless;
  std::vector<WeightDecl> weights;
  std::vector<RopeDecl> ropes;
  std::vector<BlockDecl> blocks;
  GraphAst embed, head;
  std::shared_ptr<const SourceFile> file;
};

/// What a model's files say. All members may be empty functions (no source: everything comes from
/// `shape`).
struct ModelFacts {
  enum class Kind { None, HuggingFace, Gguf };
  Kind kind = Kind::None;
  std::string path;             ///< for messages
  std::string ggufArchitecture; ///< general.architecture: fills {arch}
  /// The value at a dotted key of config.json or a GGUF key; nothing when absent or null. An array
  /// answers with "an array of 3", an object with "an object", a GGUF's tokens with their number.
  std::function<std::optional<HyperValue>(const std::string &key)> lookup;
  /// Whether config.json says null there: of what may be 0 that there is none.
  std::function<bool(const std::string &key)> isNull;
  /// Whether the GGUF has a tensor of this name.
  std::function<bool(const std::string &name)> hasTensor;
  /// The numbers of a vector of a GGUF; nothing where it has none of this length.
  std::function<std::optional<std::vector<float>>(const std::string &name, int64_t length)> vector;
};

/// Parses TOML text; every error is in `diags`. Nothing when there was one.
std::optional<Architecture> parseArchitecture(std::shared_ptr<const SourceFile> file,
                                              Diagnostics &diags);
/// Reads and parses a file.
std::optional<Architecture> loadArchitecture(const std::string &path, Diagnostics &diags);

/// The architecture file for a spec: `[model] architecture` (a name in one of `folders`, or a path
/// relative to the spec), else the one of `folders` whose hf or gguf names fit `modelType`
/// (config.json's model_type, general.architecture). `embedded` are looked at after the folders.
std::optional<Architecture> findArchitecture(
    const Spec &spec, const std::string &modelType, const std::vector<std::string> &folders,
    const std::vector<std::shared_ptr<const SourceFile>> &embedded, Diagnostics &diags);

/// Evaluates symbols (shape, then facts, then defaults), checks expectations, types and shapes, and
/// gives every node its numbers. False when there were errors; they are in `diags`.
bool bind(const Architecture &architecture, const ModelSpec &model, const ModelFacts &facts,
          BoundModel &out, Diagnostics &diags);

} // namespace lorac::dsl
