#include "compiler/tools/DescribeModel.h"

#include "compiler/tools/Output.h"
#include "compiler/tools/Project.h"
#include "compiler/tools/SourceFacts.h"
#include "dsl/Diagnostics.h"
#include "nlohmann/json.hpp"
#include "runtime/tokenizer/Tokenizer.h"

#include <map>

namespace lorac::tools {
namespace {

using Json = nlohmann::ordered_json;

struct Tensors {
  int64_t count = 0, weights = 0, bytes = 0;

  void add(const formats::SourceTensor &tensor) {
    int64_t size = 1;
    for (int64_t n : tensor.shape)
      size *= n;
    ++count, weights += size, bytes += int64_t(tensor.bytes);
  }
  std::string text() const {
    return std::to_string(count) + " of " + grouped(weights) + " weights, " +
           binaryBytes(double(bytes));
  }
};

std::string modelText(const dsl::BoundModel &model) {
  return model.architecture + " of " + std::to_string(model.layers) + " layers: hidden_size " +
         std::to_string(model.hiddenSize) + ", vocab_size " + std::to_string(model.vocabSize) +
         (model.maxPositions ? ", " + std::to_string(model.maxPositions) + " positions" : "") +
         (model.tied ? ", the head is the embedding" : "");
}

Json modelJson(const dsl::BoundModel &model) {
  return {{"architecture", model.architecture}, {"layers", model.layers},
          {"hidden_size", model.hiddenSize},    {"vocab_size", model.vocabSize},
          {"positions", model.maxPositions},    {"tied", model.tied}};
}

} // namespace

Exit describeModel(const std::string &path, bool asJson) {
  Result<SourceFacts> facts = readSourceFacts(path);
  if (!facts)
    return fail(facts.error());
  Tensors all;
  std::map<std::string, Tensors> byType;
  for (const formats::SourceTensor &tensor : facts->source->tensors()) {
    all.add(tensor);
    byType[std::string(tensor.stored)].add(tensor);
  }
  BaseModel base;
  dsl::Diagnostics diags;
  const Exit code = loadModel(path, base, diags);
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  const bool isRead = code == Exit::Done;
  const Result<Tokenizer> tokenizer = Tokenizer::load(path);

  if (asJson) {
    Json json = {{"path", path},
                 {"container", facts->source->gguf() ? "gguf" : "huggingface"},
                 {"model_type", facts->modelType},
                 {"model", isRead ? modelJson(base.model) : Json(nullptr)},
                 {"tensors", Json::array()},
                 {"tokens", tokenizer ? Json(tokenizer->vocabularySize()) : Json(nullptr)}};
    for (const auto &[type, of] : byType)
      json["tensors"].push_back(
          {{"type", type}, {"count", of.count}, {"weights", of.weights}, {"bytes", of.bytes}});
    print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return code;
  }
  print("model      " +
        (isRead ? modelText(base.model)
                : "of type '" + dsl::printable(facts->modelType) + "', which cannot be trained") +
        "\ntensors    " + all.text() + (facts->source->gguf() ? ", GGUF\n" : ", Hugging Face\n"));
  for (const auto &[type, of] : byType)
    print("           " + type + ": " + of.text() + "\n");
  print("tokenizer  " +
        (tokenizer ? std::to_string(tokenizer->vocabularySize()) + " tokens"
                   : "none: " + tokenizer.error().message) +
        "\n");
  return code;
}

} // namespace lorac::tools
