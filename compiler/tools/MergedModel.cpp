#include "compiler/tools/MergedModel.h"

#include "compiler/tools/Output.h"
#include "runtime/formats/BitsAndBytes.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/FiniteRows.h"

#include <algorithm>
#include <fmt/format.h>

namespace lorac::tools {
namespace {

using formats::GgufModule;
using formats::RowSource;

/// Rows after which the base's pages are let go: bounds what is resident of its files.
constexpr int64_t rowsAtOnce = 256;

/// The linears of the blocks: what an adapter may change here.
std::vector<GgufModule> linearsOf(const dsl::BoundModel &model) {
  std::vector<GgufModule> all;
  for (const dsl::BoundWeight &weight : model.weights)
    if (weight.kind == dsl::WeightKind::Linear)
      for (int64_t layer = 0; layer < (weight.perLayer ? model.layers : 1); ++layer)
        all.push_back({weight.module(layer), weight.ggufName(layer), weight.permuteHeads,
                       weight.shape[0], weight.shape[1]});
  return all;
}

/// Reads one adapter and checks that it is one of this base.
Result<void> read(WeightedAdapter &one, const BaseModel &base) {
  const std::vector<GgufModule> linears = linearsOf(base.model);
  if (one.path.ends_with(".gguf")) {
    LORAC_TRY_ASSIGN(one.adapter, formats::readGgufAdapter(one.path, linears));
  } else {
    LORAC_TRY_ASSIGN(one.adapter, formats::readAdapter(one.path));
    LORAC_TRY_ASSIGN(formats::AdapterOrigin origin, formats::readAdapterOrigin(one.path));
    for (const std::string &note : origin.notes)
      sayLine("note: " + note);
    LORAC_TRY(formats::checkAdapterBase(origin.base, base.identity, one.path));
  }
  if (one.adapter.isAlone)
    sayLine("note: '" + one.path +
            "' has no adapter_config.json beside it: lora_alpha is taken to be the rank, a scale "
            "of 1");
  one.adapter = formats::foldTriplets(std::move(one.adapter));
  return formats::checkFitsBase(one.adapter, linears, one.path);
}

/// The row, as Hugging Face counts, that a GGUF has at `place`: that of (j, half) is (half, j).
int64_t rowAt(int64_t place, int64_t rows, int64_t heads) {
  if (heads == 0)
    return place;
  const int64_t perHead = rows / heads, inHead = place % perHead;
  return place / perHead * perHead + inHead % 2 * (perHead / 2) + inHead / 2;
}

Survival survivalOf(std::span<const float> before, std::span<const float> base,
                    std::span<const float> merged, std::span<const float> written) {
  Survival sum;
  for (size_t i = 0; i < base.size(); ++i) {
    const double update = double(merged[i]) - double(base[i]);
    sum.along += (double(written[i]) - double(before[i])) * update;
    sum.square += update * update;
  }
  return sum;
}

} // namespace

Result<MergedModel> MergedModel::open(const dsl::Spec &spec, BaseModel base,
                                      std::vector<WeightedAdapter> adapters, bool fromFloat) {
  MergedModel model;
  if (!base.source)
    return Error{"'" + spec.path +
                     "' has no model.source: its weights are drawn, and there is no model to merge "
                     "into; set model.source to a GGUF file or a Hugging Face folder",
                 Exit::Refused};
  if (!spec.model.shape->empty())
    sayLine("warning: '" + spec.path +
            "' has model.shape: the merged model says what the files of its base say, without it");
  model.baseModel = std::move(base);
  model.adapterList = std::move(adapters);
  model.fromFloat = fromFloat;
  const dsl::QuantizationSpec &quantization = spec.quantization;
  if (const auto codebook = dsl::codebookOf(*quantization.format))
    model.heldFormat =
        formats::WeightFormat::codes(*codebook, *quantization.blockSize, *quantization.doubleQuant);
  for (WeightedAdapter &one : model.adapterList) {
    LORAC_TRY(read(one, model.baseModel));
    for (const formats::AdapterModule &module : one.adapter.modules)
      model.updates[module.module].push_back({&module, one.weight});
  }
  return model;
}

std::vector<std::vector<MergedModel::Place>> MergedModel::groups() const {
  const dsl::BoundModel &model = baseModel.model;
  std::vector<std::vector<Place>> all(size_t(model.layers + 1));
  for (const dsl::BoundWeight &weight : model.weights) {
    if (!weight.tiedTo.empty())
      continue;
    if (!weight.perLayer)
      all[0].push_back({&weight, 0});
    for (int64_t layer = 0; weight.perLayer && layer < model.layers; ++layer)
      all[size_t(layer + 1)].push_back({&weight, layer});
  }
  return all;
}

bool MergedModel::changes(const Place &place) const {
  return updates.contains(place.weight->module(place.layer)) ||
         (place.weight->kind == dsl::WeightKind::Linear && heldFormat && !fromFloat);
}

Result<MergedWeight> MergedModel::open(const Place &place, const MergeTarget &target) const {
  const dsl::BoundWeight &weight = *place.weight;
  MergedWeight out{weight.hfName(place.layer), nullptr, nullptr};
  const formats::WantedWeight wanted[] = {{out.name, weight.ggufName(place.layer), weight.shape,
                                           weight.permuteHeads, target.gguf ? weight.hfAdd : 0.0}};
  LORAC_TRY_ASSIGN(auto found, source().find(wanted));
  std::unique_ptr<RowSource> rows = std::move(found.front());
  std::vector<formats::WeightUpdate> added;
  if (const auto at = updates.find(weight.module(place.layer)); at != updates.end())
    added = at->second;
  // Quantizing the file's numbers to what the base holds is that base itself.
  const bool isLinear = weight.kind == dsl::WeightKind::Linear;
  const bool same = added.empty() && target.codes == heldFormat;
  if (isLinear && heldFormat && !same && !(fromFloat && added.empty())) {
    Result<std::unique_ptr<RowSource>> held = formats::heldRows(*rows, *heldFormat);
    if (!held)
      return Error{"'" + source().path() + "': weight '" + out.name + "': " + held.error().message,
                   held.error().code};
    (fromFloat ? out.before : rows) = std::move(*held);
  }
  out.rows = std::make_unique<formats::MergedRows>(std::move(rows), std::move(added));
  return out;
}

Result<void> MergedModel::write(const Place &place, const MergeTarget &target,
                                formats::DurableFile &file) {
  LORAC_TRY_ASSIGN(MergedWeight weight, open(place, target));
  const formats::MergedRows &rows = *weight.rows;
  const int64_t n = rows.rows(), k = rows.cols();
  const int64_t heads = target.gguf ? place.weight->permuteHeads : 0;
  const auto cols = size_t(k);
  std::vector<float> base(cols), merged(cols), before(cols), written(cols);
  std::vector<uint8_t> bytes(size_t(formats::rowBytes(target.type, k)));
  Survival sum;
  for (int64_t at = 0; at < n; ++at) {
    const int64_t row = rowAt(at, n, heads);
    rows.readBoth(row, base.data(), merged.data());
    formats::encodeRow(target.type, merged.data(), bytes.data(), k);
    formats::decodeRow(target.type, bytes.data(), written.data(), k);
    if (const std::optional<size_t> bad = formats::firstNotFinite(written))
      return Error{fmt::format("weight '{}' is {} at [{}, {}], which {} cannot hold; choose "
                               "another --dtype, or see whether the base or an adapter is damaged",
                               weight.name, formats::numberText(merged[*bad]), row, *bad,
                               formats::ggmlTypeInfo(target.type)->name),
                   Exit::Refused};
    if (rows.hasUpdates()) {
      if (weight.before)
        weight.before->readRow(row, before.data());
      sum.add(survivalOf(weight.before ? before : base, base, merged, written));
    }
    LORAC_TRY(file.write(bytes.data(), bytes.size()));
    if ((at + 1) % rowsAtOnce == 0 || at + 1 == n)
      rows.done(at / rowsAtOnce * rowsAtOnce, at + 1);
  }
  if (rows.hasUpdates())
    survived[place.weight->module(place.layer)] = sum;
  return {};
}

Result<std::vector<formats::StreamedTensor>>
MergedModel::quantize(const Place &place, const MergeTarget &target, std::string_view element) {
  LORAC_TRY_ASSIGN(MergedWeight weight, open(place, target));
  const formats::MergedRows &rows = *weight.rows;
  Result<std::shared_ptr<const formats::FourBitMatrix>> matrix =
      formats::FourBitMatrix::quantize(rows, *target.codes);
  if (!matrix)
    return Error{"weight '" + weight.name + "': " + matrix.error().message, matrix.error().code};
  if (rows.hasUpdates()) {
    const auto cols = size_t(rows.cols());
    std::vector<float> base(cols), merged(cols), before(cols), written(cols);
    Survival &sum = survived[place.weight->module(place.layer)];
    for (int64_t row = 0; row < rows.rows(); ++row) {
      rows.readBoth(row, base.data(), merged.data());
      if (weight.before)
        weight.before->readRow(row, before.data());
      (*matrix)->readRow(row, written.data());
      sum.add(survivalOf(weight.before ? before : base, base, merged, written));
    }
    rows.done(0, rows.rows());
  }
  return formats::FourBitMatrix::tensors(std::move(*matrix), weight.name, element);
}

} // namespace lorac::tools
