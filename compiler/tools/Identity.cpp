#include "compiler/tools/Identity.h"

#include "dsl/GraphCheck.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/ModelSource.h"

#include <algorithm>

namespace lorac::tools {
namespace {

formats::HyperValue typed(dsl::HyperType type, double value) {
  if (type == dsl::HyperType::Bool)
    return value != 0;
  if (type == dsl::HyperType::Integer)
    return static_cast<int64_t>(value);
  return value;
}

/// Which kind of block each layer is, where config.json can say it.
void addLayerTypes(const dsl::Architecture &architecture, const dsl::BoundModel &model,
                   formats::ModelIdentity &identity) {
  for (size_t layer = 0; layer < model.kindOfLayer.size(); ++layer)
    if (const std::string &type = architecture.blocks[size_t(model.kindOfLayer[layer])].hfLayerType;
        !type.empty())
      identity.expects.push_back(
          {{"layer_types." + std::to_string(layer)}, {}, "", {type}, "each layer has its kind"});
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
  for (const dsl::HyperDecl &decl : architecture.hyper) {
    formats::ModelSymbol symbol;
    symbol.name = decl.name;
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
    if (decl.type == dsl::HyperType::Word)
      symbol.otherwise = decl.words.front();
    std::optional<formats::HyperValue> stated;
    if (source && !(stated = formats::statedValue(*source, symbol)))
      stated = symbol.otherwise;
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
