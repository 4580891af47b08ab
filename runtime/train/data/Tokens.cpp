// format = "tokens": batches as they stand in a safetensors file.

#include "runtime/formats/Safetensors.h"
#include "runtime/train/data/DataFormat.h"
#include "runtime/train/data/SampleSink.h"

#include <cstring>

namespace lorac::train {

namespace {

constexpr int64_t releaseTokens = 1 << 16; ///< so many are read between two releases of pages

/// A tensor [steps, batch, length] of integers, read where it lies in the file.
class Grid {
public:
  Grid(const formats::Safetensors &file, const formats::TensorInfo &info)
      : file(file), info(&info), shape(info.shape) {}

  int64_t operator[](int64_t index) const {
    const uint8_t *from = file.bytes(*info).data() + index * formats::dtypeSize(info->dtype);
    using formats::DType;
    switch (info->dtype) {
    case DType::Bool:
    case DType::U8:
      return load<uint8_t>(from);
    case DType::I8:
      return load<int8_t>(from);
    case DType::I16:
      return load<int16_t>(from);
    case DType::U16:
      return load<uint16_t>(from);
    case DType::I32:
      return load<int32_t>(from);
    case DType::U32:
      return load<uint32_t>(from);
    default: // U64 beyond int64 turns negative, which no id is
      return load<int64_t>(from);
    }
  }
  /// The pages of [0, end) count no more as resident.
  void release(int64_t end) const {
    file.mapped()->release(info->offset, uint64_t(end * formats::dtypeSize(info->dtype)));
  }

private:
  template <typename T>
  static int64_t load(const uint8_t *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return int64_t(value);
  }

  const formats::Safetensors &file;
  const formats::TensorInfo *info;

public:
  std::vector<int64_t> shape;
};

Result<Grid> openGrid(const formats::Safetensors &file, const char *name) {
  const formats::TensorInfo *info = file.find(name);
  if (!info)
    return Error{"data file '" + file.path() + "' has no tensor '" + name +
                     "'; format = \"tokens\" needs input_ids and labels [steps, batch, length]",
                 Exit::Refused};
  if (info->shape.size() != 3)
    return Error{"data file '" + file.path() + "': tensor '" + name + "' has " +
                     std::to_string(info->shape.size()) +
                     " dimensions, expected 3: [steps, batch, length]",
                 Exit::Refused};
  LORAC_TRY(file.checkIntegers(name));
  return Grid(file, *info);
}

std::string at(int64_t index, const std::vector<int64_t> &shape) {
  return "[" + std::to_string(index / (shape[1] * shape[2])) + ", " +
         std::to_string(index / shape[2] % shape[1]) + ", " + std::to_string(index % shape[2]) +
         "]";
}

} // namespace

static Result<void> loadTokens(const std::string &path, const DataLimits &limits, Corpus &corpus) {
  Result<formats::Safetensors> file = formats::Safetensors::open(path);
  if (!file) // one that is missing is refused as other data is
    return Error{file.error().message,
                 file.error().code == Exit::Failed ? Exit::Refused : file.error().code};
  Result<Grid> ids = openGrid(*file, "input_ids");
  Result<Grid> labels = file->find("labels") ? openGrid(*file, "labels") : ids;
  if (!ids)
    return ids.error();
  if (!labels)
    return labels.error();
  for (const formats::TensorInfo &info : file->tensors())
    if (info.name != "input_ids" && info.name != "labels" &&
        info.name.starts_with("attention_mask"))
      return Error{"data file '" + path +
                       "' has a tensor 'attention_mask', which is not read: set labels to -100 "
                       "where it is 0, and leave it out",
                   Exit::Refused};
  auto refused = [&](const std::string &what) {
    return Error{"data file '" + path + "': " + what, Exit::Refused};
  };
  if (ids->shape != labels->shape)
    return refused("input_ids and labels have different shapes");
  int64_t steps = ids->shape[0], batch = ids->shape[1], length = ids->shape[2];
  if (steps < 1 || batch < 1 || length < 2)
    return refused("input_ids is empty, or its rows have less than two tokens");
  if (length > limits.maxLength)
    return refused("rows of " + std::to_string(length) + " tokens, train.max_length is " +
                   std::to_string(limits.maxLength) + "; raise max_length to at least that");
  if (batch > limits.maxTokens / length)
    return refused("batches of " + std::to_string(batch) + " x " + std::to_string(length) +
                   " tokens, the program holds " + std::to_string(limits.maxTokens) +
                   "; set train.batch_size = " + std::to_string(batch));
  corpus.batchRows = batch;
  for (int64_t row = 0; row < steps * batch; ++row) {
    corpus.pieces.push_back({corpus.ids.size(), uint32_t(length), uint32_t(corpus.samples++)});
    const int64_t begin = row * length;
    for (int64_t i = begin; i < begin + length; ++i) {
      const int64_t id = (*ids)[i], label = (*labels)[i];
      if (id < 0 || id >= limits.vocab)
        return refused("input_ids" + at(i, ids->shape) + " is " + std::to_string(id) +
                       ", outside of the model's vocabulary of " + std::to_string(limits.vocab));
      if (label != -100 && (label < 0 || label >= limits.vocab))
        return refused("labels" + at(i, ids->shape) + " is " + std::to_string(label) +
                       ", neither -100 nor in the model's vocabulary of " +
                       std::to_string(limits.vocab));
      corpus.ids.push_back(int32_t(id));
      if (i > begin)
        corpus.targets.push_back(int32_t(label));
    }
    corpus.targets.push_back(-100);
    if (begin / releaseTokens != (begin + length) / releaseTokens)
      ids->release(begin + length), labels->release(begin + length);
  }
  corpus.textBytes = 2 * 8 * uint64_t(releaseTokens + length);
  return {};
}

static Result<void> load(const std::string &path, SampleSink &sink) {
  return loadTokens(path, sink.limits, sink.corpus);
}

const DataFormat formatTokens = {"tokens", load};

} // namespace lorac::train
