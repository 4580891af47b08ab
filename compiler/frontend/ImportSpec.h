#pragma once
// Spec + bound architecture -> 10-model.

#include "dsl/Check.h"
#include "dsl/Graph.h"
#include "dsl/Spec.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/formats/WeightFormat.h"

#include <map>
#include <optional>

namespace lorac {

/// What ImportSpec is given beside the spec: the model as bound, adapters as resolved, and for each
/// tensor of the source (Hugging Face name) the format of its weight as it is stored there. Tensors
/// that are missing count as f32.
struct ImportInput {
  const dsl::Spec &spec;
  const dsl::BoundModel &model;
  const std::vector<dsl::AdapterChoice> &adapters;
  const std::map<std::string, formats::WeightFormat> &sourceFormats;
  std::optional<dsl::RankBudget> ranks = std::nullopt; ///< AdaLoRA
  int64_t sequences = 0; ///< of a program for text, which has no @loss; 0: it is one that trains
};

/// A module with the symbols of all frozen weights and three functions:
/// `@hidden(ids, positions, segments) -> [tokens, hidden]` (after the final norm), `@head(h) ->
/// logits`,
/// `@loss(h, labels) -> row losses`. The rank pattern stands in the module's attribute
/// `lora.adapter`s. No target is known.
mlir::OwningOpRef<mlir::ModuleOp> importSpec(mlir::MLIRContext &context, const ImportInput &input);

} // namespace lorac
