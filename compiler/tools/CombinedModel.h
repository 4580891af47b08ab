#pragma once
// Whole models of one architecture, combined tensor by tensor into a Hugging Face folder.

#include "compiler/tools/Project.h"
#include "runtime/Result.h"
#include "runtime/combine/Models.h"
#include "runtime/formats/ModelSource.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac::tools {

/// Models whose weights can be added: of one architecture, with equal hyper-parameters.
class ModelSet {
public:
  /// Opens Hugging Face folders. The base gives types, config.json and tokenizer; where `base` is
  /// empty, the first of `models` is the base. Words about the files are said. Errors name the
  /// model and what differs.
  static Result<ModelSet> open(const std::string &base, const std::vector<std::string> &models);

  /// Writes the sum as the folder `out`, whole or not at all. One tensor of each model is in memory
  /// at a time. Returns how many tensors there are.
  Result<size_t> write(const std::string &out, const combine::ModelSum &sum, uint64_t seed) const;

private:
  /// A tensor's numbers, as its file has them.
  static Result<std::vector<float>> read(const BaseModel &model, const formats::WantedWeight &want);
  /// The sum of one tensor as bytes of the base's type.
  Result<std::string> combine(const formats::WantedWeight &want, formats::GgmlType type,
                              const combine::ModelSum &sum, uint64_t seed) const;
  /// The tensors outside the layers, then layer by layer.
  std::vector<std::vector<formats::WantedWeight>> groups() const;

  BaseModel base;
  std::vector<BaseModel> models;
};

} // namespace lorac::tools
