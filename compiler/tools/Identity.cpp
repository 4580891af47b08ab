#include "compiler/tools/Identity.h"

#include "dsl/GraphCheck.h"
#include "dsl/Rope.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/ModelSource.h"

#include <algorithm>
#include <set>

namespace lorac::tools {
namespace {

formats::HyperValue typed(dsl::HyperType type, double value) {
  if (type == dsl::HyperType::Bool)
    return value != 0;
  if (type == dsl::HyperType::Integer)
    return static_cast<int64_t>(value);
  return value;
}

/// The kind of block that the architecture's own rule gives a layer; none: it gives none.
std::optional<size_t> kindByRule(const dsl::Architecture &architecture,
                                 const dsl::BoundModel &model, size_t layer) {
  std::map<std::string, double> symbols = model.hyper;
  symbols["layer"] = double(layer);
  dsl::Diagnostics ignored; // config.json may say what the rule cannot
  for (size_t kind = 0; kind < architecture.blocks.size(); ++kind)
    if (const dsl::Expr &when = architecture.blocks[kind].when;
        when.kind == dsl::ExprKind::None || dsl::evaluate(when, symbols, ignored).value_or(0) != 0)
      return kind;
  return std::nullopt;
}

/// Which kind of block each layer is, where config.json can say it. Where it must, since the rule
/// gives another, the kinds are a fact of the model.
void addLayerTypes(const dsl::Architecture &architecture, const dsl::BoundModel &model,
                   formats::ModelIdentity &identity) {
  std::string all;
  bool areOther = false;
  for (size_t layer = 0; layer < model.kindOfLayer.size(); ++layer) {
    const auto kind = size_t(model.kindOfLayer[layer]);
    const std::string &type = architecture.blocks[kind].hfLayerType;
    if (type.empty())
      continue;
    const bool isOther = kindByRule(architecture, model, layer) != kind;
    areOther |= isOther;
    all += (all.empty() ? "" : " ") + type;
    identity.expects.push_back({{"layer_types." + std::to_string(layer)},
                                {},
                                "",
                                {type},
                                "each layer has its kind",
                                isOther});
  }
  if (areOther)
    identity.layerTypes = all;
}

void addSymbols(const dsl::Expr &expr, std::set<std::string> &names) {
  if (expr.kind == dsl::ExprKind::Name)
    names.insert(expr.name);
  for (const dsl::Expr &arg : expr.args)
    addSymbols(arg, names);
}

/// Symbols that say how frequencies are scaled, and nothing else of them.
std::set<std::string> symbolsOfScaling(const dsl::Architecture &architecture) {
  std::set<std::string> scaling, plain;
  for (const dsl::RopeDecl &rope : architecture.ropes) {
    for (const dsl::Expr *expr :
         {&rope.factor, &rope.lowFreqFactor, &rope.highFreqFactor, &rope.originalPositions})
      addSymbols(*expr, scaling);
    if (!rope.type.empty())
      scaling.insert(rope.type);
    for (const dsl::Expr *expr : {&rope.dim, &rope.theta})
      addSymbols(*expr, plain);
  }
  std::erase_if(scaling, [&](const std::string &name) { return plain.contains(name); });
  return scaling;
}

void addFrequencies(const dsl::Architecture &architecture, const dsl::BoundModel &model,
                    formats::ModelIdentity &identity) {
  for (size_t i = 0; i < model.ropes.size(); ++i) {
    const dsl::RopeFrequencies &rope = model.ropes[i];
    dsl::Diagnostics ignored; // bind() has evaluated it before
    dsl::RopeNumbers plain{2 * int64_t(rope.inverse.size()),
                           *dsl::evaluate(architecture.ropes[i].theta, model.hyper, ignored)};
    std::string wrong;
    if (rope.inverse != dsl::inverseFrequencies(plain, wrong))
      identity.frequencies[rope.name] = rope.inverse;
  }
}

} // namespace

formats::ModelIdentity identityOf(const dsl::Architecture &architecture,
                                  const dsl::BoundModel &model,
                                  const formats::ModelSource *source) {
  formats::ModelIdentity identity;
  identity.architecture = architecture.name;
  for (const auto *types : {&architecture.hfModelTypes, &architecture.ggufArchitectures})
    for (const std::string &type : *types)
      if (auto &known = identity.modelTypes;
          std::find(known.begin(), known.end(), type) == known.end())
        known.push_back(type);
  if (source) // a spec may name the architecture of a model of another name
    if (auto &known = identity.modelTypes;
        std::find(known.begin(), known.end(), source->architecture()) == known.end())
      known.push_back(source->architecture());
  const std::set<std::string> scaling = symbolsOfScaling(architecture);
  for (const dsl::HyperDecl &decl : architecture.hyper) {
    formats::ModelSymbol symbol;
    symbol.name = decl.name;
    symbol.ofFrequencies = scaling.contains(decl.name);
    symbol.hf = decl.hf;
    symbol.gguf = decl.gguf;
    symbol.ggufAbsentTensor = decl.ggufAbsentTensor;
    symbol.nullIsZero = decl.maybeZero;
    dsl::Diagnostics ignored; // bind() has evaluated it before
    if (decl.when.kind != dsl::ExprKind::None &&
        dsl::evaluate(decl.when, model.hyper, ignored) == 0.0) {
      for (const auto *keys : {&decl.hf, &decl.gguf})
        identity.harmless.insert(identity.harmless.end(), keys->begin(), keys->end());
      continue;
    }
    if (decl.fallback.kind != dsl::ExprKind::None)
      if (auto value = dsl::evaluate(decl.fallback, model.hyper, ignored))
        symbol.otherwise = typed(decl.type, *value);
    if (decl.ggufFallback.kind != dsl::ExprKind::None)
      if (auto value = dsl::evaluate(decl.ggufFallback, model.hyper, ignored))
        symbol.ggufOtherwise = typed(decl.type, *value);
    if (decl.type == dsl::HyperType::Word)
      symbol.otherwise = decl.words.front();
    std::optional<formats::HyperValue> stated;
    if (source && !(stated = formats::statedValue(*source, symbol)))
      stated = symbol.unsaid(source->gguf() != nullptr);
    symbol.value = stated ? *stated
                   : decl.type == dsl::HyperType::Word
                       ? model.words.at(decl.name)
                       : typed(decl.type, model.hyper.at(decl.name));
    identity.symbols.push_back(std::move(symbol));
  }
  for (const dsl::Expectation &expects : architecture.expects)
    identity.expects.push_back(
        {expects.hf, expects.gguf, expects.ggufAbsentTensor, expects.values, expects.why});
  addLayerTypes(architecture, model, identity);
  identity.ropeDivisors = model.ropeDivisors;
  identity.divisors = model.divisors;
  addFrequencies(architecture, model, identity);
  identity.harmless.insert(identity.harmless.end(), architecture.harmless.begin(),
                           architecture.harmless.end());
  return identity;
}

std::string withIdentity(const std::string &runJson, const formats::ModelIdentity &identity) {
  using Json = nlohmann::ordered_json;
  Json run = Json::parse(runJson, nullptr, /*allow_exceptions=*/false);
  run["model"]["identity"] =
      Json::parse(formats::toJson(identity), nullptr, /*allow_exceptions=*/false);
  return run.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace lorac::tools
