#include "compiler/tools/CombinedModel.h"

#include "compiler/tools/ModelFolder.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/MappedFile.h"
#include "runtime/formats/SafetensorsWriter.h"
#include "runtime/train/Random.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::tools {

using formats::DType;
using formats::GgmlType;
using formats::shown;
using formats::WantedWeight;

/// Shards are no larger, where a layer is not.
static constexpr uint64_t shardBytes = uint64_t(4) << 30;
static constexpr uint64_t longestConfig = 16 << 20;

static Result<BaseModel> openFolder(const std::string &path) {
  BaseModel model;
  dsl::Diagnostics diags;
  const Exit code = loadModel(path, model, diags);
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (code != Exit::Done)
    return Error{fmt::format("the model '{}' is refused", path), code};
  if (model.source->kind() != formats::ModelSource::Kind::HuggingFace)
    return Error{
        fmt::format("'{}' is a GGUF file; combine takes the Hugging Face folders that such "
                    "files are made from",
                    path),
        Exit::Refused};
  return model;
}

Result<ModelSet> ModelSet::open(const std::string &basePath,
                                const std::vector<std::string> &paths) {
  ModelSet set;
  for (const std::string &path : paths) {
    LORAC_TRY_ASSIGN(BaseModel model, openFolder(path));
    set.models.push_back(std::move(model));
  }
  set.base = set.models.front();
  if (!basePath.empty()) {
    LORAC_TRY_ASSIGN(set.base, openFolder(basePath));
  }
  for (const BaseModel &model : set.models)
    if (const std::string different =
            formats::differingFacts(set.base.identity.facts(), model.identity.facts());
        !different.empty())
      return Error{fmt::format("'{}' and '{}' are no two trainings of one model: {}",
                               set.base.source->path(), model.source->path(), different),
                   Exit::ForeignFile};
  return set;
}

Result<std::vector<float>> ModelSet::read(const BaseModel &model, const WantedWeight &want) {
  LORAC_TRY_ASSIGN(auto found, model.source->find(std::span(&want, 1)));
  const formats::RowSource &rows = *found.front();
  formats::FiniteRows watch(rows);
  const auto width = size_t(rows.cols());
  std::vector<float> values(size_t(rows.rows()) * width);
  for (int64_t row = 0; row < rows.rows(); ++row) {
    const std::span<float> at(values.data() + size_t(row) * width, width);
    rows.readRow(row, at.data());
    watch.look(row, at);
  }
  if (!watch.good())
    return Error{fmt::format("'{}': tensor '{}': {}", model.source->path(), shown(want.name),
                             watch.error().message),
                 Exit::ForeignFile};
  rows.done(0, rows.rows());
  return values;
}

Result<std::string> ModelSet::combine(const WantedWeight &want, GgmlType type,
                                      const combine::ModelSum &sum, uint64_t seed) const {
  combine::Tasks tasks;
  std::vector<float> ofBase;
  for (const BaseModel &model : models) {
    LORAC_TRY_ASSIGN(std::vector<float> values, read(model, want));
    tasks.push_back(std::move(values));
  }
  if (sum.method.form == combine::ModelForm::TaskVectors) {
    LORAC_TRY_ASSIGN(ofBase, read(base, want));
  }
  const auto draw = [&](size_t model, int64_t count, double density) {
    return combine::drawn(
        count, density, train::RandomStream(seed, fmt::format("combine {} {}", model, want.name)));
  };
  std::vector<float> values = combine::combineTensor(sum, ofBase, std::move(tasks), draw);
  const auto count = int64_t(values.size());
  std::string bytes(size_t(formats::rowBytes(type, count)), '\0');
  auto *out = reinterpret_cast<uint8_t *>(bytes.data());
  formats::encodeRow(type, values.data(), out, count);
  formats::decodeRow(type, out, values.data(), count);
  LORAC_TRY(formats::requireFinite(values, "the sum is not written", want.name));
  return bytes;
}

std::vector<std::vector<WantedWeight>> ModelSet::groups() const {
  std::vector<std::vector<WantedWeight>> all(size_t(base.model.layers + 1));
  for (const dsl::BoundWeight &weight : base.model.weights)
    if (weight.tiedTo.empty())
      for (int64_t layer = 0; layer < (weight.perLayer ? base.model.layers : 1); ++layer)
        all[weight.perLayer ? size_t(layer + 1) : 0].push_back(
            {weight.hfName(layer), "", weight.shape});
  return all;
}

/// The type of a tensor in the base's file.
static Result<std::pair<GgmlType, DType>> storedType(const formats::ModelSource &source,
                                                     const WantedWeight &want) {
  constexpr std::pair<GgmlType, DType> types[] = {
      {GgmlType::F32, DType::F32}, {GgmlType::F16, DType::F16}, {GgmlType::BF16, DType::BF16}};
  LORAC_TRY_ASSIGN(auto found, source.find(std::span(&want, 1)));
  for (const auto &type : types)
    if (found.front()->stored() == formats::ggmlTypeInfo(type.first))
      return type;
  return Error{fmt::format("'{}': tensor '{}' is none of F32, F16 and BF16", source.path(),
                           shown(want.name)),
               Exit::ForeignFile};
}

Result<size_t> ModelSet::write(const std::string &out, const combine::ModelSum &sum,
                               uint64_t seed) const {
  const formats::ModelSource &source = *base.source;
  LORAC_TRY_ASSIGN(formats::DurableDirectory folder, formats::DurableDirectory::create(out));
  const std::string &path = folder.workPath();
  formats::FolderManifest manifest;
  LORAC_TRY_ASSIGN(std::string config,
                   formats::readSmallFile(source.path() + "/config.json", longestConfig));
  manifest.files["config.json"] = formats::hashHex(config);
  LORAC_TRY(formats::writeDurably(path + "/config.json", config));
  LORAC_TRY(copyCompanions(source.path(), path, manifest));
  formats::ShardWriter writer(path, shardBytes);
  size_t count = 0;
  for (const std::vector<WantedWeight> &group : groups()) {
    std::vector<formats::StreamedTensor> tensors;
    for (const WantedWeight &want : group) {
      LORAC_TRY_ASSIGN(const auto type, storedType(source, want));
      tensors.push_back(
          {want.name, type.second, want.shape,
           [this, want, type, &sum, seed](formats::DurableFile &file) -> Result<void> {
             LORAC_TRY_ASSIGN(const std::string bytes, combine(want, type.first, sum, seed));
             return file.write(bytes);
           }});
    }
    count += tensors.size();
    LORAC_TRY(writer.add(std::move(tensors)));
  }
  LORAC_TRY(writer.finish(manifest.files));
  LORAC_TRY(manifest.write(path));
  if (Result<std::vector<formats::Safetensors>> back = formats::openSafetensorsFolder(path); !back)
    return Error{"what was written does not read back: " + back.error().message};
  LORAC_TRY(folder.commit());
  return count;
}

} // namespace lorac::tools
