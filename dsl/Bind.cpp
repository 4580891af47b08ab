// An architecture meets a model's numbers: symbols, then weights, then graphs.

#include "dsl/Architecture.h"
#include "dsl/GraphCheck.h"
#include "dsl/Rope.h"
#include "dsl/Text.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace lorac::dsl {

namespace {

constexpr int64_t MaxLayers = 10000;
constexpr double MaxWeights = 0x1p45;

std::string describe(const HyperValue &value) {
  if (const bool *truth = std::get_if<bool>(&value))
    return *truth ? "true" : "false";
  if (const int64_t *integer = std::get_if<int64_t>(&value))
    return std::to_string(*integer);
  if (const double *number = std::get_if<double>(&value))
    return shortest(*number);
  return "\"" + printable(std::get<std::string>(value)) + "\"";
}

class Binder {
public:
  Binder(const Architecture &architecture, const ModelSpec &model, const ModelFacts &facts,
         BoundModel &out, Diagnostics &diags)
      : architecture(architecture), model(model), facts(facts), out(out), diags(diags) {
    if (facts.kind != ModelFacts::Kind::None)
      factsFile = std::make_shared<SourceFile>(facts.path, "", Origin::Model);
  }

  bool run() {
    size_t before = diags.errors();
    out.architecture = architecture.name;
    shapeKeys();
    for (const HyperDecl &decl : architecture.hyper)
      symbol(decl);
    expectations();
    if (diags.errors() != before || !common())
      return false;
    for (const WeightDecl &decl : architecture.weights)
      weight(decl);
    if (diags.errors() != before)
      return false;
    for (const RopeDecl &decl : architecture.ropes)
      rope(decl);
    layerKinds();
    if (diags.errors() != before)
      return false;
    GraphNames names{out.hyper, out.weights, out.ropes, out.hiddenSize};
    checkSection(SectionKind::Embed, architecture.embed, names, out.embed, diags);
    for (const BlockDecl &decl : architecture.blocks) {
      out.blocks.emplace_back().kind = decl.name;
      checkSection(SectionKind::Block, decl.graph, names, out.blocks.back(), diags);
    }
    checkSection(SectionKind::Head, architecture.head, names, out.head, diags);
    if (diags.errors() == before)
      used();
    return diags.errors() == before;
  }

private:
  // Every key of `shape` is a symbol, or Hugging Face's name of one.
  void shapeKeys() {
    std::set<std::string> seen;
    for (const ShapeEntry &entry : *model.shape) {
      std::vector<std::string> words;
      const HyperDecl *found = nullptr;
      for (const HyperDecl &decl : architecture.hyper) {
        words.push_back(decl.name);
        words.insert(words.end(), decl.hf.begin(), decl.hf.end());
        if (names(decl, entry.key))
          found = &decl;
      }
      if (!found)
        diags
            .error(entry.keyRange,
                   "'" + printable(entry.key) + "' is no symbol of '" + architecture.name + "'")
            .suggest(nearest(entry.key, words));
      else if (!seen.insert(found->name).second)
        diags.error(entry.keyRange,
                    "'" + found->name + "' is given twice, here as '" + entry.key + "'");
    }
  }

  static bool names(const HyperDecl &decl, const std::string &key) {
    return decl.name == key || std::find(decl.hf.begin(), decl.hf.end(), key) != decl.hf.end();
  }

  // A key of the model's files with {arch} filled in.
  std::string filled(std::string key) const {
    if (size_t at = key.find("{arch}"); at != std::string::npos)
      key.replace(at, 6, facts.ggufArchitecture);
    return key;
  }

  SourceRange factsRange() const { return {factsFile, 0, 0, 0, 0}; }

  struct Found {
    HyperValue value;
    SourceRange range;
    std::string name; ///< the key as its file has it
  };

  std::optional<Found> inFacts(const std::vector<std::string> &hf,
                               const std::vector<std::string> &gguf) const {
    if (facts.kind == ModelFacts::Kind::None || !facts.lookup)
      return std::nullopt;
    for (const std::string &key : facts.kind == ModelFacts::Kind::Gguf ? gguf : hf)
      if (std::optional<HyperValue> value = facts.lookup(filled(key)))
        return Found{*value, factsRange(), filled(key)};
    return std::nullopt;
  }

  std::optional<Found> find(const HyperDecl &decl) const {
    if (decl.when.kind != ExprKind::None && evaluate(decl.when, out.hyper, diags) == 0.0)
      return std::nullopt;
    for (const ShapeEntry &entry : *model.shape)
      if (names(decl, entry.key))
        return Found{entry.value, entry.range, entry.key};
    if (std::optional<Found> found = inFacts(decl.hf, decl.gguf))
      return found;
    if (decl.maybeZero && facts.isNull)
      for (const std::string &key : decl.hf)
        if (facts.isNull(key))
          return Found{int64_t(0), factsRange(), key};
    if (facts.kind == ModelFacts::Kind::Gguf && !decl.ggufAbsentTensor.empty() && facts.hasTensor)
      return Found{!facts.hasTensor(decl.ggufAbsentTensor), factsRange(), decl.ggufAbsentTensor};
    return std::nullopt;
  }

  // A word of the symbol's; the first where nothing says another.
  void word(const HyperDecl &decl) {
    std::optional<Found> found = find(decl);
    const std::string *text = found ? std::get_if<std::string>(&found->value) : nullptr;
    const auto &words = decl.words;
    if (!found) {
      out.words[decl.name] = words.front();
    } else if (text && std::find(words.begin(), words.end(), *text) != words.end()) {
      out.words[decl.name] = *text;
    } else {
      std::string want;
      for (const std::string &one : words)
        want += (want.empty() ? "\"" : " or \"") + one + "\"";
      diags
          .error(found->range, "'" + printable(found->name) + "' is " + describe(found->value) +
                                   "; '" + architecture.name + "' expects " + want)
          .note(decl.range, "'" + decl.name + "' is described here");
      brokenSymbol = true;
    }
  }

  void symbol(const HyperDecl &decl) {
    if (brokenSymbol && decl.when.kind != ExprKind::None) // it may need one that has been reported
      return;
    if (decl.type == HyperType::Word)
      return word(decl);
    if (std::optional<Found> found = find(decl)) {
      if (std::optional<double> value = typed(decl, *found))
        out.hyper[decl.name] = *value;
      else
        brokenSymbol = true;
      return;
    }
    if (decl.fallback.kind != ExprKind::None) {
      if (brokenSymbol) // its default may need a symbol that has already been reported
        return;
      const Expr &fallback = decl.defaultOf(facts.kind == ModelFacts::Kind::Gguf);
      std::optional<double> value = evaluate(fallback, out.hyper, diags);
      if (value)
        value = typed(decl, {*value, fallback.range, decl.name});
      if (value)
        out.hyper[decl.name] = *value;
      else
        brokenSymbol = true;
      return;
    }
    brokenSymbol = true;
    if (facts.kind == ModelFacts::Kind::None) {
      diags
          .error(model.shape.given() ? model.shape.range : model.range,
                 "'model.shape' does not give '" + decl.name + "', which '" + architecture.name +
                     "' needs")
          .note(decl.range, "'" + decl.name + "' is described here");
      return;
    }
    const std::vector<std::string> &keys =
        facts.kind == ModelFacts::Kind::Gguf ? decl.gguf : decl.hf;
    diags
        .error(factsRange(), "no '" + (keys.empty() ? decl.name : filled(keys[0])) +
                                 "': the file does not say '" + decl.name + "'")
        .note(decl.range, "'" + decl.name + "' is described here");
  }

  std::optional<double> typed(const HyperDecl &decl, const Found &found) {
    const HyperValue &value = found.value;
    auto wrong = [&](const std::string &want) {
      diags.error(found.range,
                  "'" + printable(found.name) + "' must be " + want + ", got " + describe(value));
      return std::nullopt;
    };
    const bool *truth = std::get_if<bool>(&value);
    const int64_t *integer = std::get_if<int64_t>(&value);
    const double *number = std::get_if<double>(&value);
    double plain = truth     ? *truth
                   : integer ? static_cast<double>(*integer)
                   : number  ? *number
                             : NAN;
    switch (decl.type) {
    case HyperType::Bool:
      return truth || plain == 0 || plain == 1 ? std::optional(plain) : wrong("true or false");
    case HyperType::Number:
      if (!truth && std::isfinite(plain) && (plain > 0 || (decl.maybeZero && plain == 0)))
        return plain;
      return wrong(decl.maybeZero ? "a number of at least 0" : "a positive number");
    default:
      break;
    }
    const int least = decl.maybeZero ? 0 : 1;
    bool whole = !truth && plain >= least && plain < 0x1p31 && plain == std::floor(plain);
    return whole ? std::optional(plain)
                 : wrong("a whole number from " + std::to_string(least) + " to 2147483647");
  }

  void expectations() {
    for (const Expectation &expects : architecture.expects) {
      std::string why = expects.why.empty() ? "" : ": " + expects.why;
      if (facts.kind == ModelFacts::Kind::Gguf && !expects.ggufAbsentTensor.empty() &&
          facts.hasTensor && facts.hasTensor(expects.ggufAbsentTensor))
        diags
            .error(factsRange(), "the file has a tensor '" + expects.ggufAbsentTensor +
                                     "', which '" + architecture.name + "' does not use" + why)
            .note(expects.range, "expected here");
      for (const std::string &key :
           facts.kind == ModelFacts::Kind::Gguf ? expects.gguf : expects.hf)
        expectation(expects, key, why);
    }
  }

  void expectation(const Expectation &expects, const std::string &key, const std::string &why) {
    std::optional<Found> found = inFacts({key}, {key});
    if (!found || std::any_of(expects.values.begin(), expects.values.end(),
                              [&](const HyperValue &value) { return same(value, found->value); }))
      return;
    std::string want;
    for (const HyperValue &value : expects.values)
      want += (want.empty() ? "" : " or ") + describe(value);
    std::string message = "'" + found->name + "' is " + describe(found->value) + "; '" +
                          architecture.name + "' " +
                          (want.empty() ? "expects none" : "expects " + want) + why;
    diags.error(factsRange(), message).note(expects.range, "expected here");
  }

  // Files write 1 and 1.0 for one number.
  static bool same(const HyperValue &a, const HyperValue &b) {
    auto number = [](const HyperValue &value) {
      const int64_t *integer = std::get_if<int64_t>(&value);
      const double *real = std::get_if<double>(&value);
      return integer ? static_cast<double>(*integer) : real ? *real : NAN;
    };
    return a == b || number(a) == number(b);
  }

  /// Heads that divide as attention needs them; else the model's file is to blame, and not the
  /// graph that finds it out.
  bool areHeads() {
    const auto of = [&](const char *name) {
      const auto it = out.hyper.find(name);
      return it == out.hyper.end() ? 0 : static_cast<int64_t>(it->second);
    };
    const int64_t heads = of("n_heads"), shared = of("n_kv_heads");
    if (heads <= 0 || shared <= 0 || heads % shared == 0)
      return true;
    diags.error(placeOf("n_kv_heads"),
                nameOf("n_kv_heads") + " = " + std::to_string(shared) + " must divide " +
                    nameOf("n_heads") + " = " + std::to_string(heads) +
                    ": so many heads of keys are shared by those of queries");
    return false;
  }

  /// What the model's own file calls a symbol.
  std::string nameOf(const char *symbol) const {
    for (const HyperDecl &decl : architecture.hyper)
      if (decl.name == symbol)
        if (std::optional<Found> found = find(decl))
          return "'" + printable(found->name) + "'";
    return std::string("'") + symbol + "'";
  }

  // The symbols that lorac itself goes by.
  bool common() {
    auto get = [&](const char *name, double fallback) {
      auto it = out.hyper.find(name);
      return it == out.hyper.end() ? fallback : it->second;
    };
    bool good = areHeads();
    for (const char *name : {"layers", "hidden_size", "vocab_size"}) {
      if (out.hyper.count(name))
        continue;
      diags.error({architecture.file, 1, 1, 1, 1},
                  std::string("[hyper] must describe '") + name + "'");
      good = false;
    }
    out.layers = static_cast<int64_t>(get("layers", 0));
    out.hiddenSize = static_cast<int64_t>(get("hidden_size", 0));
    out.vocabSize = static_cast<int64_t>(get("vocab_size", 0));
    out.maxPositions = static_cast<int64_t>(get("max_position_embeddings", 0));
    out.tied = get("tie_word_embeddings", 0) != 0;
    if (good && out.layers > MaxLayers) {
      diags.error(placeOf("layers"), "a model of " + std::to_string(out.layers) +
                                         " layers: at most " + std::to_string(MaxLayers) +
                                         " are taken");
      good = false;
    }
    return good;
  }

  SourceRange placeOf(const std::string &symbol) const {
    for (const HyperDecl &decl : architecture.hyper)
      if (decl.name == symbol)
        if (std::optional<Found> found = find(decl))
          return found->range;
    return {architecture.file, 1, 1, 1, 1};
  }

  void weight(const WeightDecl &decl) {
    BoundWeight bound;
    bound.key = decl.key;
    bound.kind = decl.kind;
    bound.hfTemplate = decl.hf;
    bound.ggufTemplate = decl.gguf;
    bound.perLayer = decl.hf.find("{layer}") != std::string::npos;
    bound.hfAdd = decl.hfAdd;
    bound.range = decl.range;
    for (const Expr &expr : decl.shape)
      bound.shape.push_back(
          evaluateSize(expr, out.hyper, "a size of '" + decl.key + "'", diags).value_or(1));
    if (decl.permuteHeads.kind != ExprKind::None) {
      bound.permuteHeads =
          evaluateSize(decl.permuteHeads, out.hyper, "'heads' of '" + decl.key + "'", diags)
              .value_or(1);
      if (bound.shape[0] % (2 * bound.permuteHeads) != 0)
        diags.error(decl.range, "the " + std::to_string(bound.shape[0]) + " rows of '" + decl.key +
                                    "' are not " + std::to_string(bound.permuteHeads) +
                                    " heads of an even size");
    }
    double count = bound.perLayer ? static_cast<double>(out.layers) : 1;
    for (int64_t size : bound.shape)
      count *= static_cast<double>(size);
    total += count;
    if (total > MaxWeights && total - count <= MaxWeights)
      diags.error(decl.range, "the model has more than 2^45 weights");
    if (!decl.tiedTo.empty() && out.tied)
      bound.tiedTo = decl.tiedTo;
    if (!decl.tiedTo.empty())
      tie(decl, bound);
    out.weights.push_back(std::move(bound));
  }

  void tie(const WeightDecl &decl, const BoundWeight &bound) {
    const BoundWeight *other = out.weight(decl.tiedTo);
    if (!other)
      diags.error(decl.range, "'" + decl.key + "' is tied to '" + decl.tiedTo +
                                  "', which is not described above it");
    else if (std::any_of(architecture.weights.begin(), architecture.weights.end(),
                         [&](const WeightDecl &one) {
                           return one.key == decl.tiedTo && !one.tiedTo.empty();
                         }))
      diags.error(decl.range, "'" + decl.key + "' is tied to '" + decl.tiedTo +
                                  "', which is tied itself: name the weight that has the tensor");
    else if (other->shape != bound.shape)
      diags.error(decl.range,
                  "'" + decl.key + "' and '" + decl.tiedTo + "' are tied but have two shapes");
  }

  // An expression of [rope.NAME] or of a layer, 0 where it is left out.
  double valueOr0(const Expr &expr, const std::map<std::string, double> &symbols) {
    return expr.kind == ExprKind::None ? 0 : evaluate(expr, symbols, diags).value_or(0);
  }

  void rope(const RopeDecl &decl) {
    const size_t before = diags.errors();
    auto refused = [&](const std::string &why) {
      diags.error(facts.kind == ModelFacts::Kind::None ? decl.range : factsRange(), why)
          .note(decl.range, "[rope." + decl.name + "] is described here");
    };
    RopeNumbers numbers;
    numbers.dim =
        evaluateSize(decl.dim, out.hyper, "'dim' of [rope." + decl.name + "]", diags).value_or(2);
    numbers.theta = valueOr0(decl.theta, out.hyper);
    numbers.factor = valueOr0(decl.factor, out.hyper);
    numbers.lowFreqFactor = valueOr0(decl.lowFreqFactor, out.hyper);
    numbers.highFreqFactor = valueOr0(decl.highFreqFactor, out.hyper);
    numbers.originalPositions = valueOr0(decl.originalPositions, out.hyper);
    if (!decl.type.empty()) {
      auto found = out.words.find(decl.type);
      if (found == out.words.end())
        diags.error(decl.range,
                    "'type' of [rope." + decl.name + "] is no symbol of type \"word\" of [hyper]");
      else if (std::optional<RopeType> type = ropeTypeOf(found->second))
        numbers.type = *type;
      else
        refused("rotary positions of type '" + printable(found->second) +
                "' are known, not in this version");
    }
    if (diags.errors() != before)
      return;
    if (numbers.dim % 2 != 0 || !(numbers.theta > 0))
      return (void)diags.error(decl.range, "[rope." + decl.name +
                                               "] turns pairs by a positive "
                                               "theta: got 'dim' " +
                                               std::to_string(numbers.dim) + " and 'theta' " +
                                               shortest(numbers.theta));
    if (!decl.ggufDivisors.empty()) {
      out.ropeDivisors = decl.ggufDivisors;
      if (facts.kind == ModelFacts::Kind::Gguf && facts.hasTensor &&
          facts.hasTensor(decl.ggufDivisors)) {
        auto stored = facts.vector ? facts.vector(decl.ggufDivisors, numbers.dim / 2)
                                   : std::optional<std::vector<float>>();
        auto isDivisor = [](float d) { return std::isfinite(d) && d > 0; };
        if (!stored || !std::all_of(stored->begin(), stored->end(), isDivisor))
          return (void)diags.error(factsRange(), "tensor '" + decl.ggufDivisors + "' must be " +
                                                     std::to_string(numbers.dim / 2) +
                                                     " positive numbers of type F32");
        numbers.divisors = out.divisors = std::move(*stored);
      }
    }
    std::string wrong;
    if (auto inverse = inverseFrequencies(numbers, wrong))
      out.ropes.push_back({decl.name, std::move(*inverse)});
    else
      refused(wrong);
  }

  // Whether config.json says of which kind each layer is: for all of them, or for none.
  bool statesLayerTypes() {
    const bool isOfKinds =
        std::any_of(architecture.blocks.begin(), architecture.blocks.end(),
                    [](const BlockDecl &decl) { return !decl.hfLayerType.empty(); });
    if (!isOfKinds || facts.kind != ModelFacts::Kind::HuggingFace || !facts.lookup)
      return false;
    const std::optional<HyperValue> list = facts.lookup("layer_types");
    const std::string want = "an array of " + std::to_string(out.layers);
    if (list && *list != HyperValue(want))
      diags.error(factsRange(), "'layer_types' must be " + want + ", a word for each layer, got " +
                                    describe(*list));
    return list.has_value();
  }

  // Of which kind each layer is: as config.json's `layer_types` says it, else the first whose
  // `when` holds.
  void layerKinds() {
    const size_t before = diags.errors();
    const bool asStated = statesLayerTypes();
    for (int64_t layer = 0; layer < out.layers && diags.errors() == before; ++layer) {
      std::map<std::string, double> symbols = out.hyper;
      symbols["layer"] = static_cast<double>(layer);
      const std::string key = "layer_types." + std::to_string(layer);
      const std::optional<HyperValue> stated = asStated ? facts.lookup(key) : std::nullopt;
      int kind = -1;
      for (size_t i = 0; kind < 0 && i < architecture.blocks.size(); ++i) {
        const BlockDecl &decl = architecture.blocks[i];
        if (asStated ? stated == HyperValue(decl.hfLayerType)
                     : decl.when.kind == ExprKind::None || valueOr0(decl.when, symbols) != 0)
          kind = static_cast<int>(i);
      }
      if (kind < 0) {
        if (asStated)
          diags.error(factsRange(), "'" + key + "' is " + (stated ? describe(*stated) : "null") +
                                        "; '" + architecture.name + "' has no such block");
        else
          diags.error(architecture.blocks.back().range,
                      "no kind of block takes layer " + std::to_string(layer));
        return;
      }
      out.kindOfLayer.push_back(kind);
    }
  }

  // What a layer's files hold, its block uses, whatever its kind.
  void used() {
    auto names = [](const GraphSection &section) {
      std::set<std::string> seen;
      for (const GraphNode &node : section.nodes)
        seen.insert(node.weight);
      return seen;
    };
    std::set<std::string> outside = names(out.embed);
    outside.merge(names(out.head));
    for (const BoundWeight &weight : out.weights) {
      bool isUsed = outside.count(weight.key) > 0;
      if (weight.perLayer)
        isUsed = std::all_of(out.blocks.begin(), out.blocks.end(), [&](const GraphSection &block) {
          return names(block).count(weight.key) > 0;
        });
      if (!isUsed)
        diags.error(weight.range, "no graph uses the weight '" + weight.key + "'");
    }
  }

  const Architecture &architecture;
  const ModelSpec &model;
  const ModelFacts &facts;
  BoundModel &out;
  Diagnostics &diags;
  std::shared_ptr<const SourceFile> factsFile;
  double total = 0;
  bool brokenSymbol = false;
};

} // namespace

bool bind(const Architecture &architecture, const ModelSpec &model, const ModelFacts &facts,
          BoundModel &out, Diagnostics &diags) {
  out = {};
  return Binder(architecture, model, facts, out, diags).run();
}

} // namespace lorac::dsl
