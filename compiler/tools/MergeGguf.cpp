// A merged model as one GGUF file: the keys of the base's GGUF, or those that its config.json
// says.

#include "compiler/tools/MergedModel.h"
#include "compiler/tools/Output.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Gguf.h"
#include "runtime/tokenizer/TokenizerGgufWriter.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <set>

namespace lorac::tools {
namespace {

using formats::GgmlType;
using formats::Gguf;
using formats::GgufTensor;
using formats::GgufWriter;

/// general.file_type, of whole files.
constexpr struct {
  GgmlType type;
  uint32_t number;
} fileTypes[] = {{GgmlType::F32, 0},
                 {GgmlType::F16, 1},
                 {GgmlType::Q4_1, 3},
                 {GgmlType::Q8_0, 7},
                 {GgmlType::BF16, 32}};

void writeFileType(GgmlType type, GgufWriter &writer) {
  for (const auto &known : fileTypes)
    if (known.type == type)
      writer.u32("general.file_type", known.number);
  writer.u32("general.quantization_version", 2);
}

/// Vectors stay float32, as llama.cpp has them. A row that is no whole blocks becomes float16.
GgmlType typeOf(const dsl::BoundWeight &weight, GgmlType wanted) {
  if (weight.isVector())
    return GgmlType::F32;
  return weight.shape.back() % formats::ggmlTypeInfo(wanted)->blockValues == 0 ? wanted
                                                                               : GgmlType::F16;
}

class GgufMerge {
public:
  GgufMerge(MergedModel &model, const MergeTarget &target) : model(model), target(target) {}

  Result<void> run(const std::string &out) {
    if (const Gguf *file = model.source().gguf()) {
      copyKeys(*file);
      addTensors(*file);
    } else {
      LORAC_TRY(addKeys());
      for (const std::vector<MergedModel::Place> &group : model.groups())
        for (const MergedModel::Place &place : group)
          add(place);
    }
    if (!rounded.empty())
      sayLine(fmt::format("note: rows of {} are no whole blocks of {}: they are written as F16",
                          rounded, formats::ggmlTypeInfo(target.type)->name));
    return writer.write(out);
  }

private:
  void copyKeys(const Gguf &file) {
    for (const formats::GgufKey &key : file.keys())
      if (key.name != "general.file_type" && key.name != "general.quantization_version" &&
          key.name != "general.alignment")
        writer.copy(file, key);
    writeFileType(target.type, writer);
  }

  /// In the order of the base's file, with what it has beside the weights.
  void addTensors(const Gguf &file) {
    std::map<std::string, MergedModel::Place> places;
    for (const std::vector<MergedModel::Place> &group : model.groups())
      for (const MergedModel::Place &place : group)
        places.emplace(place.weight->ggufName(place.layer), place);
    for (const GgufTensor &tensor : file.tensors()) {
      const auto place = places.find(tensor.name);
      const bool changes = place != places.end() &&
                           (GgmlType(tensor.type) != typeOf(*place->second.weight, target.type) ||
                            model.changes(place->second));
      if (changes)
        add(place->second);
      else
        writer.tensor(tensor.name, GgmlType(tensor.type), tensor.shape,
                      [&file, tensor](formats::DurableFile &out) -> Result<void> {
                        LORAC_TRY(out.write(file.bytes(tensor).data(), tensor.size));
                        file.mapped()->release(tensor.offset, tensor.size);
                        return {};
                      });
    }
  }

  void add(const MergedModel::Place &place) {
    MergeTarget own = target;
    own.type = typeOf(*place.weight, target.type);
    const std::string name = place.weight->ggufName(place.layer);
    if (own.type != target.type && !place.weight->isVector() && named.insert(place.weight).second)
      rounded += (rounded.empty() ? "'" : ", '") + place.weight->key + "'";
    writer.tensor(
        name, own.type, place.weight->shape,
        [this, place, own](formats::DurableFile &out) { return model.write(place, own, out); });
  }

  /// What the base's config.json says, by the keys of the architecture; and its tokenizer.
  Result<void> addKeys() {
    const BaseModel &base = model.base();
    const std::string &path = model.source().path();
    const auto refuse = [&](const std::string &why) {
      return Error{"'" + path + "': " + why + "; take --format safetensors", Exit::Refused};
    };
    if (const auto &types = base.identity.modelTypes;
        std::find(types.begin(), types.end(), base.ggufArchitecture) == types.end())
      return refuse("GGUF files of the architecture '" + base.model.architecture +
                    "' are not known in this version");
    for (const formats::ModelSymbol &symbol : base.identity.symbols)
      if (symbol.gguf.empty() && symbol.ggufAbsentTensor.empty() &&
          !(symbol.otherwise && formats::sameValue(*symbol.otherwise, symbol.value)))
        return refuse("its '" + symbol.name + "' is " + formats::valueText(symbol.value) +
                      ", for which a GGUF has no key");
    writer.text("general.architecture", base.ggufArchitecture);
    writer.text("general.type", "model");
    writer.text("general.name", std::filesystem::path(path).lexically_normal().filename().string());
    const std::map<std::string, std::string> facts = base.identity.facts();
    for (const formats::ModelSymbol &symbol : base.identity.symbols)
      if (facts.contains(symbol.name) && !symbol.gguf.empty())
        addKey(symbol);
    writeFileType(target.type, writer);
    LORAC_TRY_ASSIGN(bool hasTokenizer,
                     tok::writeTokenizerGguf(path, base.model.vocabSize, writer));
    if (!hasTokenizer)
      sayLine("note: '" + path + "' has no tokenizer.json, and so the GGUF has no tokenizer");
    return {};
  }

  void addKey(const formats::ModelSymbol &symbol) {
    std::string key = symbol.gguf.front();
    if (const size_t at = key.find("{arch}"); at != std::string::npos)
      key.replace(at, 6, model.base().ggufArchitecture);
    addValue(key, symbol.value);
    // llama.cpp takes the width of values for that of keys only where neither is told.
    constexpr std::string_view keyLength = ".attention.key_length";
    if (key.ends_with(keyLength))
      addValue(key.substr(0, key.size() - keyLength.size()) + ".attention.value_length",
               symbol.value);
  }

  void addValue(const std::string &key, const formats::HyperValue &value) {
    if (const bool *truth = std::get_if<bool>(&value))
      writer.truth(key, *truth);
    else if (const int64_t *whole = std::get_if<int64_t>(&value))
      writer.u32(key, uint32_t(*whole));
    else if (const double *number = std::get_if<double>(&value))
      writer.f32(key, float(*number));
    else
      writer.text(key, std::get<std::string>(value));
  }

  MergedModel &model;
  const MergeTarget &target;
  GgufWriter writer;
  std::set<const dsl::BoundWeight *> named;
  std::string rounded; ///< weights whose rows are no whole blocks
};

} // namespace

Result<void> writeMergedGguf(const std::string &out, MergedModel &model,
                             const MergeTarget &target) {
  LORAC_TRY(GgufMerge(model, target).run(out));
  Result<std::shared_ptr<const formats::ModelSource>> back = formats::ModelSource::open(out);
  Result<void> same =
      back ? formats::checkIdentity(**back, model.base().identity) : Result<void>(back.error());
  if (same)
    return {};
  std::error_code ignored;
  std::filesystem::remove(out, ignored);
  return Error{"what was written does not read back, and is removed: " + same.error().message};
}

} // namespace lorac::tools
