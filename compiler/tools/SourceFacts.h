#pragma once
// What a model's files say, in the words of the dsl.

#include "dsl/Architecture.h"
#include "runtime/Result.h"
#include "runtime/formats/ModelSource.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lorac::tools {

struct SourceFacts {
  std::shared_ptr<const formats::ModelSource> source;
  dsl::ModelFacts facts;
  std::string modelType;          ///< config.json's model_type, or general.architecture
  std::vector<std::string> notes; ///< what a user should hear of it
  /// The format in which kernels see a tensor as it is stored, by its name in the file; nothing
  /// when there is no such tensor.
  std::function<std::optional<formats::WeightFormat>(const std::string &name)> tensorFormat;
  /// Whether the files hold every weight of the model, in its shape and in a type that is read
  /// here, and nothing else.
  std::function<Result<void>(const dsl::BoundModel &model)> checkWeights;
};

/// Opens a GGUF file or a Hugging Face directory; it stays open as long as the functions are held.
Result<SourceFacts> readSourceFacts(const std::string &path);

} // namespace lorac::tools
