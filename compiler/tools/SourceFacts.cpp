#include "compiler/tools/SourceFacts.h"

#include "runtime/formats/ModelSource.h"

#include <map>

namespace lorac::tools {
namespace {

Result<void> findAll(const formats::ModelSource &source, const dsl::BoundModel &model) {
  std::vector<formats::WantedWeight> wanted;
  for (const dsl::BoundWeight &weight : model.weights)
    for (int64_t layer = 0; weight.tiedTo.empty() && layer < (weight.perLayer ? model.layers : 1);
         ++layer)
      wanted.push_back({weight.hfName(layer), weight.ggufName(layer), weight.shape,
                        weight.permuteHeads, weight.hfAdd});
  LORAC_TRY(source.find(wanted));
  return source.checkNothingElse(wanted);
}

} // namespace

Result<SourceFacts> readSourceFacts(const std::string &path) {
  LORAC_TRY_ASSIGN(std::shared_ptr<const formats::ModelSource> source,
                   formats::ModelSource::open(path));
  auto kept = std::make_shared<std::map<std::string, formats::WeightFormat>>();
  for (const formats::SourceTensor &tensor : source->tensors())
    if (tensor.kept)
      kept->emplace(tensor.name, *tensor.kept);

  SourceFacts result;
  result.source = source;
  result.notes = source->notes();
  const bool gguf = source->kind() == formats::ModelSource::Kind::Gguf;
  result.modelType = source->architecture();
  result.facts.kind = gguf ? dsl::ModelFacts::Kind::Gguf : dsl::ModelFacts::Kind::HuggingFace;
  result.facts.path = path;
  if (gguf)
    result.facts.ggufArchitecture = source->architecture();
  else
    for (const std::string &key : source->config()->ignored())
      result.notes.push_back("config.json has '" + key +
                             "', which names code of the model's own: it is not run");
  result.facts.lookup = [source](const std::string &key) { return source->hyper(key); };
  result.facts.isNull = [source](const std::string &key) { return source->isNull(key); };
  result.facts.hasTensor = [source](const std::string &name) { return source->hasTensor(name); };
  result.facts.vector = [source](const std::string &name, int64_t length) {
    return source->vector(name, length);
  };
  result.tensorFormat = [kept](const std::string &name) -> std::optional<formats::WeightFormat> {
    auto found = kept->find(name);
    return found == kept->end() ? std::nullopt : std::optional(found->second);
  };
  result.checkWeights = [source](const dsl::BoundModel &model) { return findAll(*source, model); };
  return result;
}

} // namespace lorac::tools
