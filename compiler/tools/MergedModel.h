#pragma once
// A spec's base with adapters merged into it, weight by weight, as `lorac merge` writes it.

#include "compiler/tools/Project.h"
#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"
#include "runtime/formats/MergedRows.h"
#include "runtime/formats/SafetensorsWriter.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lorac::tools {

/// An adapter and its weight: PATH@WEIGHT on the command line.
struct WeightedAdapter {
  std::string path;
  double weight = 1;
  formats::Adapter adapter; ///< without triplets
};

/// How much of an update is in what was written: with W0 the base that the adapter was trained
/// over, dW its update and W1 the numbers that were written, <W1 - W0, dW> / <dW, dW>. Each update
/// that is lost to rounding lowers it; 1: on average all of it has arrived.
struct Survival {
  double along = 0, square = 0;

  void add(const Survival &other) { along += other.along, square += other.square; }
  double share() const { return square == 0 ? 1 : along / square; }
};

struct MergedWeight {
  std::string name;
  std::unique_ptr<formats::MergedRows> rows;
  /// W0, where the updates are added to other numbers than these; else null.
  std::unique_ptr<formats::RowSource> before;
};

/// Where a weight goes, and how its numbers are kept there.
struct MergeTarget {
  formats::GgmlType type = formats::GgmlType::F32;
  /// Instead of `type`, of the linears: bitsandbytes' codes.
  std::optional<formats::WeightFormat> codes;
  bool unquantized = false; ///< the numbers that `codes` are made of, in their place
  bool makesCodes() const { return codes && !unquantized; }
  bool gguf = false; ///< GGUF's numbers and order of rows, not Hugging Face's
};

class MergedModel {
public:
  /// Checks that every adapter is one of this base. `fromFloat`: updates are added to the numbers
  /// of the base's files, not to what the spec quantizes them to. Words for the user are said.
  static Result<MergedModel> open(const dsl::Spec &spec, BaseModel base,
                                  std::vector<WeightedAdapter> adapters, bool fromFloat);

  const BaseModel &base() const { return baseModel; }
  const formats::ModelSource &source() const { return *baseModel.source; }
  const std::vector<WeightedAdapter> &adapters() const { return adapterList; }
  /// What the spec quantizes linears to; nothing: they are what the files say.
  const std::optional<formats::WeightFormat> &held() const { return heldFormat; }

  /// A tensor of the model's.
  struct Place {
    const dsl::BoundWeight *weight;
    int64_t layer;
  };
  /// All of them, once each: those outside the layers, then layer by layer.
  std::vector<std::vector<Place>> groups() const;
  /// Whether its numbers are others than those of the base's file.
  bool changes(const Place &place) const;

  Result<MergedWeight> open(const Place &place, const MergeTarget &target) const;
  /// Writes the numbers as `target.type`, row by row, and notes what survives of an update.
  Result<void> write(const Place &place, const MergeTarget &target, formats::DurableFile &file);
  /// The same as `target.codes`, for a folder; they are held until they are written. `element`: the
  /// type, in PyTorch's word, that they decode to.
  Result<std::vector<formats::StreamedTensor>>
  quantize(const Place &place, const MergeTarget &target, std::string_view element);

  /// What has survived of the updates, by module.
  const std::map<std::string, Survival> &survivals() const { return survived; }

private:
  BaseModel baseModel;
  std::vector<WeightedAdapter> adapterList;
  bool fromFloat = false;
  std::optional<formats::WeightFormat> heldFormat;
  std::map<std::string, std::vector<formats::WeightUpdate>> updates; ///< by module
  std::map<std::string, Survival> survived;
};

/// The whole model as a Hugging Face folder, or as one GGUF file.
Result<void> writeMergedFolder(const std::string &out, MergedModel &model,
                               const MergeTarget &target);
Result<void> writeMergedGguf(const std::string &out, MergedModel &model, const MergeTarget &target);

} // namespace lorac::tools
