#include "runtime/formats/ModelSource.h"
#include "runtime/formats/Checked.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <sys/stat.h>

namespace lorac::formats {
namespace {

/// Rows of a mapped tensor.
class StoredRows : public RowSource {
public:
  StoredRows(std::shared_ptr<const MappedFile> mapped, uint64_t start, GgmlType stored,
             const WantedWeight &wanted, bool permuted)
      : file(std::move(mapped)), offset(start), type(stored) {
    const bool isVector = wanted.shape.size() == 1;
    n = isVector ? 1 : wanted.shape[0];
    k = wanted.shape.back();
    stride = rowBytes(type, k);
    headRows = permuted && wanted.permuteHeads > 0 ? n / wanted.permuteHeads : 0;
  }
  void readRow(int64_t row, float *out) const override { decodeRow(type, rawRow(row), out, k); }
  std::optional<GgmlType> rawType() const override { return type; }
  const uint8_t *rawRow(int64_t row) const override {
    return file->bytes().data() + offset + uint64_t(storedRow(row)) * uint64_t(stride);
  }
  void done(int64_t begin, int64_t end) const override {
    if (headRows > 0) { // rows move inside a head only
      begin = begin / headRows * headRows;
      end = std::min(n, (end + headRows - 1) / headRows * headRows);
    }
    file->release(offset + uint64_t(begin * stride), uint64_t((end - begin) * stride));
  }

private:
  /// GGUF keeps a Llama's q and k with rows (half, j) of a head at (j, half): reshape(heads, 2,
  /// d/2).swapaxes(1, 2).
  int64_t storedRow(int64_t row) const {
    if (headRows == 0)
      return row;
    const int64_t head = row / headRows, inHead = row % headRows, half = headRows / 2;
    return head * headRows + inHead % half * 2 + inHead / half;
  }

  std::shared_ptr<const MappedFile> file;
  uint64_t offset;
  GgmlType type;
  int64_t stride = 0, headRows = 0;
};

std::optional<GgmlType> asGgml(DType type) {
  switch (type) {
  case DType::F32:
    return GgmlType::F32;
  case DType::F16:
    return GgmlType::F16;
  case DType::BF16:
    return GgmlType::BF16;
  default:
    return std::nullopt;
  }
}

/// Misfits of a whole model in one message.
class Misfits {
public:
  void add(std::string what) {
    if (++count <= 16)
      text += (text.empty() ? "" : "; ") + what;
  }
  bool any() const { return count > 0; }
  Error error(const std::string &path) const {
    const std::string more = count > 16 ? fmt::format("; and {} more", count - 16) : "";
    return {fmt::format("'{}' does not fit the architecture: {}{}", path, text, more),
            Exit::ForeignFile};
  }

private:
  std::string text;
  int count = 0;
};

} // namespace

Result<std::shared_ptr<const ModelSource>> ModelSource::open(const std::string &path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0)
    return Error{fmt::format("cannot open the model '{}': {}", path, strerror(errno)),
                 Exit::Failed};
  auto source = std::make_shared<ModelSource>();
  source->where = path;

  if (S_ISDIR(status.st_mode)) {
    Result<HfConfig> config = HfConfig::open(path + "/config.json");
    if (!config)
      return config.error();
    const std::optional<HyperValue> type = config->lookup("model_type");
    if (!type || !std::holds_alternative<std::string>(*type))
      return Error{fmt::format("'{}' names no 'model_type'", config->path()), Exit::ForeignFile};
    source->archName = std::get<std::string>(*type);
    Result<std::vector<Safetensors>> shards = openSafetensorsFolder(path);
    if (!shards)
      return shards.error();
    source->hfConfig = std::move(*config);
    source->shards = std::move(*shards);
    for (const Safetensors &shard : source->shards)
      for (const TensorInfo &tensor : shard.tensors())
        source->list.push_back({tensor.name, tensor.shape, std::string(toString(tensor.dtype))});
    return std::shared_ptr<const ModelSource>(source);
  }

  for (const char *suffix : {".bin", ".pt", ".pth", ".ckpt"})
    if (path.ends_with(suffix))
      return Error{fmt::format("'{}' is a pickle by its name, which can run code and is not read; "
                               "convert it to safetensors or "
                               "GGUF",
                               path),
                   Exit::ForeignFile};
  if (path.ends_with(".safetensors"))
    return Error{
        fmt::format("'{}' is one safetensors file; give its folder, which has config.json too",
                    path),
        Exit::Failed};
  Result<Gguf> file = Gguf::open(path);
  if (!file)
    return file.error();
  Result<std::string_view> architecture = file->text("general.architecture");
  if (!architecture)
    return architecture.error();
  source->archName = *architecture;
  if (file->key("general.type"))
    if (Result<std::string_view> type = file->text("general.type"); type && *type == "adapter")
      return Error{fmt::format("'{}' holds an adapter, not a model", path), Exit::ForeignFile};
  source->ggufFile = std::move(*file);
  for (const GgufTensor &tensor : source->ggufFile->tensors())
    source->list.push_back(
        {tensor.name, tensor.shape, std::string(ggmlTypeInfo(tensor.type)->name)});
  return std::shared_ptr<const ModelSource>(source);
}

std::optional<HyperValue> ModelSource::hyper(const std::string &key) const {
  if (hfConfig)
    return hfConfig->lookup(key);
  const GgufKey *found = ggufFile->key(key);
  if (!found)
    return std::nullopt;
  switch (found->type) {
  case GgufType::Array:
    if (key == "tokenizer.ggml.tokens" && found->element == GgufType::String)
      return HyperValue(int64_t(found->count));
    return HyperValue(fmt::format("an array of {} {}", found->count, toString(found->element)));
  case GgufType::Bool:
    return HyperValue(*ggufFile->truth(key));
  case GgufType::String:
    return HyperValue(std::string(*ggufFile->text(key)));
  case GgufType::F32:
  case GgufType::F64:
    return HyperValue(*ggufFile->number(key));
  default:
    if (Result<int64_t> value = ggufFile->integer(key))
      return HyperValue(*value);
    return HyperValue(0x1p63); // an unsigned value beyond int64: too large for whatever asks
  }
}

bool ModelSource::hasTensor(const std::string &name) const {
  if (ggufFile)
    return ggufFile->tensor(name) != nullptr;
  for (const Safetensors &shard : shards)
    if (shard.find(name))
      return true;
  return false;
}

Result<std::vector<std::unique_ptr<RowSource>>>
ModelSource::find(std::span<const WantedWeight> wanted) const {
  std::vector<std::unique_ptr<RowSource>> found;
  Misfits misfits;
  for (const WantedWeight &weight : wanted) {
    const std::string &name = ggufFile ? weight.gguf : weight.name;
    std::shared_ptr<const MappedFile> file;
    uint64_t offset = 0;
    std::optional<GgmlType> type;
    std::string stored;
    std::vector<int64_t> shape;
    if (ggufFile) {
      const GgufTensor *tensor = ggufFile->tensor(name);
      if (tensor) {
        file = ggufFile->mapped();
        offset = tensor->offset;
        shape = tensor->shape;
        stored = ggmlTypeInfo(tensor->type)->name;
        if (ggufFile->checkReadable(*tensor))
          type = GgmlType(tensor->type);
      }
    } else {
      for (const Safetensors &shard : shards)
        if (const TensorInfo *tensor = shard.find(name)) {
          file = shard.mapped();
          offset = tensor->offset;
          shape = tensor->shape;
          stored = toString(tensor->dtype);
          type = asGgml(tensor->dtype);
        }
    }
    const bool canPermute =
        weight.permuteHeads == 0 ||
        (weight.shape.size() == 2 && weight.shape[0] % (2 * weight.permuteHeads) == 0);
    if (!file)
      misfits.add(fmt::format("tensor '{}' is absent", shown(name)));
    else if (shape != weight.shape)
      misfits.add(fmt::format("tensor '{}' is {} {}, expected {}", shown(name), stored,
                              shownShape(shape), shownShape(weight.shape)));
    else if (!type)
      misfits.add(
          fmt::format("tensor '{}' is {}, which this version does not read", shown(name), stored));
    else if (!canPermute)
      misfits.add(fmt::format("tensor '{}' of {} has no whole pairs of rows for {} heads",
                              shown(name), shownShape(shape), weight.permuteHeads));
    else
      found.push_back(std::make_unique<StoredRows>(std::move(file), offset, *type, weight,
                                                   ggufFile.has_value()));
  }
  if (misfits.any())
    return misfits.error(where);
  return found;
}

Result<void> ModelSource::checkNothingElse(std::span<const WantedWeight> wanted) const {
  std::set<std::string_view> known;
  for (const WantedWeight &weight : wanted)
    known.insert(ggufFile ? weight.gguf : weight.name);
  const auto tie = hfConfig ? hfConfig->lookup("tie_word_embeddings") : std::nullopt;
  const bool tied = tie == HyperValue(true);
  Misfits misfits;
  for (const SourceTensor &tensor : list) {
    const bool harmless =
        tensor.name.ends_with(".rotary_emb.inv_freq") || (tied && tensor.name == "lm_head.weight");
    if (!known.contains(tensor.name) && !harmless)
      misfits.add(fmt::format("tensor '{}' {} has no place in it", shown(tensor.name),
                              shownShape(tensor.shape)));
  }
  if (misfits.any())
    return misfits.error(where);
  return {};
}

} // namespace lorac::formats
