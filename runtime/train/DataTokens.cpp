// The data format `tokens`: batches as they stand in a safetensors file.
#include "runtime/formats/Safetensors.h"
#include "runtime/train/Data.h"

namespace lorac::train {

namespace {

struct Grid {
  std::vector<int64_t> shape;
  std::vector<int64_t> values;
};

Result<Grid> readGrid(const formats::Safetensors &file, const char *name) {
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
  Result<std::vector<int64_t>> values = file.integers(name);
  if (!values)
    return values.error();
  return Grid{info->shape, std::move(*values)};
}

std::string at(int64_t index, const std::vector<int64_t> &shape) {
  return "[" + std::to_string(index / (shape[1] * shape[2])) + ", " +
         std::to_string(index / shape[2] % shape[1]) + ", " + std::to_string(index % shape[2]) +
         "]";
}

} // namespace

Result<void> loadTokens(const std::string &path, const DataLimits &limits, Corpus &corpus) {
  Result<formats::Safetensors> file = formats::Safetensors::open(path);
  if (!file) // one that is missing is refused as other data is
    return Error{file.error().message,
                 file.error().code == Exit::Failed ? Exit::Refused : file.error().code};
  Result<Grid> ids = readGrid(*file, "input_ids");
  Result<Grid> labels = file->find("labels") ? readGrid(*file, "labels") : ids;
  if (!ids)
    return ids.error();
  if (!labels)
    return labels.error();
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
  for (size_t i = 0; i < ids->values.size(); ++i) {
    int64_t id = ids->values[i], label = labels->values[i];
    if (id < 0 || id >= limits.vocab)
      return refused("input_ids" + at(int64_t(i), ids->shape) + " is " + std::to_string(id) +
                     ", outside of the model's vocabulary of " + std::to_string(limits.vocab));
    if (label != -100 && (label < 0 || label >= limits.vocab))
      return refused("labels" + at(int64_t(i), ids->shape) + " is " + std::to_string(label) +
                     ", neither -100 nor in the model's vocabulary of " +
                     std::to_string(limits.vocab));
  }
  corpus.batchRows = batch;
  for (int64_t row = 0; row < steps * batch; ++row) {
    corpus.pieces.push_back({corpus.ids.size(), uint32_t(length), uint32_t(corpus.samples++)});
    for (int64_t i = 0; i < length; ++i) {
      size_t index = size_t(row * length + i);
      corpus.ids.push_back(int32_t(ids->values[index]));
      corpus.targets.push_back(i + 1 < length ? int32_t(labels->values[index + 1]) : -100);
    }
  }
  return {};
}

} // namespace lorac::train
