#include "runtime/formats/ModelSource.h"
#include "runtime/formats/Checked.h"

#include <fmt/format.h>

#include <algorithm>
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
  const GgmlTypeInfo *stored() const override { return ggmlTypeInfo(type); }
  void readCodes(int64_t row, uint8_t *codes, float *scales, float *minima) const override {
    decodeCodes(type, rawRow(row), k, codes, scales, minima);
  }
  void done(int64_t begin, int64_t end) const override {
    if (headRows > 0) { // rows move inside a head only
      begin = begin / headRows * headRows;
      end = std::min(n, (end + headRows - 1) / headRows * headRows);
    }
    file->release(offset + uint64_t(begin * stride), uint64_t((end - begin) * stride));
  }

private:
  const uint8_t *rawRow(int64_t row) const {
    return file->bytes().data() + offset + uint64_t(storedRow(row)) * uint64_t(stride);
  }
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

/// Rows with a number added to each value.
class AddedRows : public RowSource {
public:
  AddedRows(std::unique_ptr<RowSource> inner, float added) : inner(std::move(inner)), added(added) {
    n = this->inner->rows(), k = this->inner->cols();
  }
  void readRow(int64_t row, float *out) const override {
    inner->readRow(row, out);
    for (int64_t i = 0; i < k; ++i)
      out[i] += added;
  }
  void done(int64_t begin, int64_t end) const override { inner->done(begin, end); }

private:
  std::unique_ptr<RowSource> inner;
  float added;
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

std::optional<WeightFormat> keptAs(DType type) {
  const std::optional<GgmlType> same = asGgml(type);
  return same ? ggmlTypeInfo(*same)->kept : std::nullopt;
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

bool exists(const std::string &path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0;
}

/// Folders that are no model's, by what they hold.
Result<void> checkIsModel(const std::string &folder) {
  if (exists(folder + "/config.json"))
    return {};
  if (exists(folder + "/adapter_config.json"))
    return Error{fmt::format("'{}' holds an adapter (adapter_config.json), not a model; name the "
                             "model that it was trained on",
                             folder),
                 Exit::ForeignFile};
  if (exists(folder + "/snapshots")) {
    Result<std::string> commit = readSmallFile(folder + "/refs/main", 256);
    const std::string name = commit ? shown(commit->substr(0, commit->find('\n'))) : "COMMIT";
    return Error{fmt::format("'{}' is a folder of the Hugging Face cache; the model in it is "
                             "'{}/snapshots/{}'",
                             folder, folder, name),
                 Exit::Failed};
  }
  return {};
}

/// llama.cpp splits large models into files that only together are one.
Result<void> checkNotSplit(const Gguf &file) {
  Result<int64_t> count = file.integer("split.count");
  if (!count || *count <= 1)
    return {};
  Result<int64_t> number = file.integer("split.no");
  const std::string &path = file.path();
  std::string first = path;
  std::string parts;
  // NAME-00001-of-00003.gguf
  if (const size_t at = path.rfind("-of-"); at != std::string::npos && at >= 6) {
    first = path.substr(0, at - 5) + "00001" + path.substr(at);
    const size_t slash = path.rfind('/');
    const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
    const size_t digits = name.rfind("-of-") - 5;
    for (int64_t i = 1; i <= std::min<int64_t>(*count, 8); ++i)
      parts += fmt::format("{}{}{:05}{}", i == 1 ? ": " : ", ", name.substr(0, digits), i,
                           name.substr(digits + 5));
    if (*count > 8)
      parts += ", …";
  }
  return Error{fmt::format("'{}' is part {} of a model that is split into {} files{}; join them: "
                           "llama-gguf-split --merge {} JOINED.gguf",
                           path, number ? *number + 1 : 1, *count, parts, first),
               Exit::ForeignFile};
}

} // namespace

Result<std::shared_ptr<const ModelSource>> ModelSource::open(const std::string &path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0)
    return Error{fmt::format("cannot open the model '{}': {}", path, strerror(errno)),
                 Exit::Failed};
  auto source = std::make_shared<ModelSource>();
  source->where = path;
  LORAC_TRY(S_ISDIR(status.st_mode) ? source->openFolder() : source->openGguf());
  return std::shared_ptr<const ModelSource>(source);
}

Result<void> ModelSource::openFolder() {
  LORAC_TRY(checkIsModel(where));
  LORAC_TRY_ASSIGN(HfConfig config, HfConfig::open(where + "/config.json"));
  const std::optional<HyperValue> type = config.lookup("model_type");
  if (!type || !std::holds_alternative<std::string>(*type))
    return Error{fmt::format("'{}' names no 'model_type'", config.path()), Exit::ForeignFile};
  archName = std::get<std::string>(*type);
  LORAC_TRY_ASSIGN(std::vector<Safetensors> files, openSafetensorsFolder(where));
  hfConfig = std::move(config);
  shards = std::move(files);
  for (const Safetensors &shard : shards)
    for (const TensorInfo &tensor : shard.tensors())
      list.push_back(
          {tensor.name, tensor.shape, keptAs(tensor.dtype), toString(tensor.dtype), tensor.size});
  checkTie();
  return {};
}

Result<void> ModelSource::openGguf() {
  for (const char *suffix : {".bin", ".pt", ".pth", ".ckpt"})
    if (where.ends_with(suffix))
      return Error{fmt::format("'{}' is a pickle by its name, which can run code and is not read; "
                               "convert it to safetensors or "
                               "GGUF",
                               where),
                   Exit::ForeignFile};
  if (where.ends_with(".safetensors"))
    return Error{
        fmt::format("'{}' is one safetensors file; give its folder, which has config.json too",
                    where),
        Exit::Failed};
  LORAC_TRY_ASSIGN(Gguf file, Gguf::open(where));
  LORAC_TRY_ASSIGN(archName, file.text("general.architecture"));
  if (file.key("general.type"))
    if (Result<std::string_view> type = file.text("general.type"); type && *type == "adapter")
      return Error{fmt::format("'{}' holds an adapter, not a model", where), Exit::ForeignFile};
  LORAC_TRY(checkNotSplit(file));
  ggufFile = std::move(file);
  for (const GgufTensor &tensor : ggufFile->tensors()) {
    const GgmlTypeInfo &type = *ggmlTypeInfo(tensor.type);
    list.push_back({tensor.name, tensor.shape, type.kept, type.name, tensor.size});
  }
  return {};
}

void ModelSource::checkTie() {
  if (hfConfig->lookup("tie_word_embeddings") != HyperValue(true))
    return;
  const TensorInfo *head = nullptr, *embedding = nullptr;
  const Safetensors *headFile = nullptr, *embeddingFile = nullptr;
  for (const Safetensors &shard : shards) {
    if (const TensorInfo *found = shard.find("lm_head.weight"))
      head = found, headFile = &shard;
    if (const TensorInfo *found = shard.find("model.embed_tokens.weight"))
      embedding = found, embeddingFile = &shard;
  }
  if (!head || !embedding)
    return;
  const auto a = headFile->bytes(*head), b = embeddingFile->bytes(*embedding);
  if (head->shape == embedding->shape && head->dtype == embedding->dtype &&
      memcmp(a.data(), b.data(), a.size()) == 0)
    return;
  headIsItsOwn = true;
  noteList.push_back(
      fmt::format("'{}' says tie_word_embeddings: true, but lm_head.weight has other values than "
                  "model.embed_tokens.weight: the head is taken as it is, as transformers does",
                  hfConfig->path()));
}

std::vector<std::pair<std::string, HyperValue>> ModelSource::statements() const {
  std::vector<std::pair<std::string, HyperValue>> all;
  if (hfConfig) {
    all.assign(hfConfig->all().begin(), hfConfig->all().end());
    return all;
  }
  for (const GgufKey &key : ggufFile->keys())
    if (key.name.starts_with(archName + "."))
      if (std::optional<HyperValue> value = hyper(key.name))
        all.emplace_back(key.name, *value);
  return all;
}

std::optional<HyperValue> ModelSource::hyper(const std::string &key) const {
  if (hfConfig)
    return headIsItsOwn && key == "tie_word_embeddings" ? HyperValue(false) : hfConfig->lookup(key);
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

std::optional<std::vector<float>> ModelSource::vector(const std::string &name,
                                                      int64_t length) const {
  const WantedWeight wanted[] = {{"", name, {length}}};
  auto found = ggufFile ? find(wanted) : Result<std::vector<std::unique_ptr<RowSource>>>(Error{});
  if (!found)
    return std::nullopt;
  std::vector<float> values(size_t(length), 0.0f);
  found->front()->readRow(0, values.data());
  return values;
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
    if (!ggufFile && weight.hfAdd != 0 && !misfits.any())
      found.back() = std::make_unique<AddedRows>(std::move(found.back()), float(weight.hfAdd));
  }
  if (misfits.any())
    return misfits.error(where);
  return found;
}

Result<void> ModelSource::checkNothingElse(std::span<const WantedWeight> wanted) const {
  std::set<std::string_view> known;
  for (const WantedWeight &weight : wanted)
    known.insert(ggufFile ? weight.gguf : weight.name);
  const auto tie = hfConfig ? hyper("tie_word_embeddings") : std::nullopt;
  const bool tied = tie == HyperValue(true);
  Misfits misfits;
  for (const SourceTensor &tensor : list) {
    // A GGUF's divisors of frequencies are part of the model's identity.
    const bool harmless = tensor.name.ends_with(".rotary_emb.inv_freq") ||
                          (tied && tensor.name == "lm_head.weight") ||
                          (ggufFile && tensor.name == "rope_freqs.weight");
    if (!known.contains(tensor.name) && !harmless)
      misfits.add(fmt::format("tensor '{}' {} has no place in it", shown(tensor.name),
                              shownShape(tensor.shape)));
  }
  if (misfits.any())
    return misfits.error(where);
  return {};
}

} // namespace lorac::formats
