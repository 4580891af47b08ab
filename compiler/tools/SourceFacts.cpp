#include "compiler/tools/SourceFacts.h"

#include "runtime/formats/ModelSource.h"

#include <cctype>
#include <map>

namespace lorac::tools {
namespace {

/// The file's word for a type ("Q4_1") as the compiler's ("q4_1").
std::string lowered(std::string text) {
  for (char &c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

} // namespace

Result<SourceFacts> readSourceFacts(const std::string &path) {
  Result<std::shared_ptr<const formats::ModelSource>> opened = formats::ModelSource::open(path);
  if (!opened)
    return opened.error();
  std::shared_ptr<const formats::ModelSource> source = *opened;
  auto types = std::make_shared<std::map<std::string, std::string>>();
  for (const formats::SourceTensor &tensor : source->tensors())
    types->emplace(tensor.name, lowered(tensor.type));

  SourceFacts result;
  const bool gguf = source->kind() == formats::ModelSource::Kind::Gguf;
  result.modelType = source->architecture();
  result.facts.kind = gguf ? dsl::ModelFacts::Kind::Gguf : dsl::ModelFacts::Kind::HuggingFace;
  result.facts.path = path;
  if (gguf)
    result.facts.ggufArchitecture = source->architecture();
  result.facts.lookup = [source](const std::string &key) { return source->hyper(key); };
  result.facts.hasTensor = [source](const std::string &name) { return source->hasTensor(name); };
  result.tensorType = [types](const std::string &name) -> std::optional<std::string> {
    auto found = types->find(name);
    return found == types->end() ? std::nullopt : std::optional(found->second);
  };
  return result;
}

} // namespace lorac::tools
