// A merged model as a Hugging Face folder: weights, config.json, and what the base has of a
// tokenizer.

#include "compiler/tools/MergedModel.h"
#include "compiler/tools/Output.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/MappedFile.h"

#include <filesystem>
#include <fmt/format.h>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

using Json = nlohmann::ordered_json;
using formats::DType;
using formats::GgmlType;

/// Shards are no larger, where a layer is not. Codes are held until their shard is written.
constexpr uint64_t floatShard = uint64_t(4) << 30, codeShard = uint64_t(256) << 20;
constexpr uint64_t longestConfig = 16 << 20;

/// Files beside config.json without which a model cannot be used as it was.
constexpr const char *companions[] = {"generation_config.json",
                                      "tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "tokenizer.model",
                                      "chat_template.jinja",
                                      "chat_template.json"};

constexpr struct {
  GgmlType type;
  DType dtype;
  const char *name; ///< PyTorch's
} elements[] = {{GgmlType::F32, DType::F32, "float32"},
                {GgmlType::F16, DType::F16, "float16"},
                {GgmlType::BF16, DType::BF16, "bfloat16"}};

const auto &elementOf(GgmlType type) {
  for (const auto &element : elements)
    if (element.type == type)
      return element;
  return elements[0];
}

/// The type that the base's file has a tensor in.
GgmlType storedType(const formats::ModelSource &source, const std::string &name) {
  for (const formats::SourceTensor &tensor : source.tensors())
    if (tensor.name == name)
      for (const auto &element : elements)
        if (tensor.kept == formats::ggmlTypeInfo(element.type)->kept)
          return element.type;
  return GgmlType::F32;
}

/// The base's config.json, with the type of these weights and how they are quantized.
Result<std::string> configText(const std::string &path, const MergeTarget &target) {
  LORAC_TRY_ASSIGN(std::string text, formats::readSmallFile(path, longestConfig));
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    return Error{"'" + path + "' is no JSON object", Exit::ForeignFile};
  if (!target.makesCodes()) {
    const bool isNew = config.contains("dtype");
    if (isNew)
      config["dtype"] = elementOf(target.type).name;
    if (!isNew || config.contains("torch_dtype"))
      config["torch_dtype"] = elementOf(target.type).name;
  } else {
    config["quantization_config"] = {
        {"quant_method", "bitsandbytes"},
        {"load_in_4bit", true},
        {"load_in_8bit", false},
        {"bnb_4bit_quant_type", formats::codebooks[size_t(target.codes->codebook)].name},
        {"bnb_4bit_use_double_quant", target.codes->doubleQuant},
        {"bnb_4bit_compute_dtype", elementOf(target.type).name},
        {"bnb_4bit_quant_storage", "uint8"}};
  }
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<void> put(const std::string &folder, const std::string &name, const std::string &text,
                 formats::FolderManifest &manifest) {
  manifest.files[name] = formats::hashHex(text);
  return formats::writeDurably(folder + "/" + name, text);
}

/// Copies the tokenizer, its template and what generation takes, as far as the base has them.
Result<void> copyCompanions(const std::string &base, const std::string &folder,
                            formats::FolderManifest &manifest) {
  for (const char *name : companions) {
    if (std::error_code code; !fs::exists(base + "/" + name, code))
      continue;
    LORAC_TRY_ASSIGN(auto file, formats::MappedFile::openBeneath(base, name));
    const std::span<const uint8_t> bytes = file->bytes();
    LORAC_TRY(put(folder, name, std::string(bytes.begin(), bytes.end()), manifest));
  }
  if (!manifest.files.contains("tokenizer.json") && !manifest.files.contains("tokenizer.model"))
    sayLine("note: '" + base + "' has no tokenizer, and so the merged model has none");
  return {};
}

Result<void> writeWeights(const std::string &folder, MergedModel &model, const MergeTarget &target,
                          formats::FolderManifest &manifest) {
  formats::ShardWriter writer(folder, target.makesCodes() ? codeShard : floatShard);
  for (const std::vector<MergedModel::Place> &group : model.groups()) {
    std::vector<formats::StreamedTensor> tensors;
    for (const MergedModel::Place &place : group) {
      const std::string name = place.weight->hfName(place.layer);
      MergeTarget own = target;
      if (target.makesCodes())
        own.type = storedType(model.source(), name);
      if (target.makesCodes() && place.weight->kind == dsl::WeightKind::Linear) {
        LORAC_TRY_ASSIGN(std::vector<formats::StreamedTensor> codes,
                         model.quantize(place, own, elementOf(own.type).name));
        std::move(codes.begin(), codes.end(), std::back_inserter(tensors));
        continue;
      }
      tensors.push_back({name, elementOf(own.type).dtype, place.weight->shape,
                         [&model, place, own](formats::DurableFile &file) {
                           return model.write(place, own, file);
                         }});
    }
    LORAC_TRY(writer.add(std::move(tensors)));
  }
  return writer.finish(manifest.files);
}

} // namespace

Result<void> writeMergedFolder(const std::string &out, MergedModel &model,
                               const MergeTarget &target) {
  const formats::ModelSource &source = model.source();
  if (source.kind() != formats::ModelSource::Kind::HuggingFace)
    return Error{"'" + source.path() +
                     "' is a GGUF file, which has no config.json and no tokenizer.json for a "
                     "Hugging Face folder; take --format gguf, or set model.source to the folder "
                     "that it was made from",
                 Exit::Refused};
  LORAC_TRY_ASSIGN(formats::DurableDirectory folder, formats::DurableDirectory::create(out));
  const std::string &path = folder.workPath();
  formats::FolderManifest manifest;
  MergeTarget config = target;
  if (target.makesCodes())
    config.type = storedType(source, model.groups()[0].front().weight->hfName());
  LORAC_TRY_ASSIGN(std::string text, configText(source.path() + "/config.json", config));
  LORAC_TRY(put(path, "config.json", text, manifest));
  LORAC_TRY(copyCompanions(source.path(), path, manifest));
  LORAC_TRY(writeWeights(path, model, target, manifest));
  LORAC_TRY(manifest.write(path));
  if (Result<std::vector<formats::Safetensors>> back = formats::openSafetensorsFolder(path); !back)
    return Error{"what was written does not read back: " + back.error().message};
  return folder.commit();
}

} // namespace lorac::tools
