#include "runtime/formats/MergedRows.h"

#include "runtime/formats/PackedWeight.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lorac::formats {
namespace {

class HeldRows : public RowSource {
public:
  HeldRows(int64_t rows, int64_t cols, const WeightFormat &held) : format(held) {
    n = rows, k = cols;
    for (int part = 0; part < partCount(format); ++part)
      memory.emplace_back(size_t(partBytes(format, part, n, k)));
  }
  std::vector<void *> parts() {
    std::vector<void *> all;
    for (std::vector<uint8_t> &part : memory)
      all.push_back(part.data());
    return all;
  }
  void readRow(int64_t row, float *out) const override {
    const void *all[std::size(FormatParts().list)] = {};
    for (size_t part = 0; part < memory.size(); ++part)
      all[part] = memory[part].data();
    unpackRow(format, n, k, std::span(all).first(memory.size()), row, out);
  }

private:
  WeightFormat format;
  std::vector<std::vector<uint8_t>> memory;
};

} // namespace

MergedRows::MergedRows(std::unique_ptr<RowSource> rows, std::vector<WeightUpdate> given)
    : base(std::move(rows)), updates(std::move(given)) {
  n = base->rows(), k = base->cols();
}

void MergedRows::readRow(int64_t row, float *out) const {
  base->readRow(row, out);
  apply(row, out);
}

void MergedRows::readBoth(int64_t row, float *before, float *merged) const {
  base->readRow(row, before);
  memcpy(merged, before, size_t(k) * sizeof(float));
  apply(row, merged);
}

void MergedRows::apply(int64_t row, float *values) const {
  if (updates.empty())
    return;
  const auto cols = size_t(k);
  const std::vector<float> before(values, values + cols);
  std::vector<float> update(cols);
  for (const auto &[module, weight] : updates) {
    std::fill(update.begin(), update.end(), 0.0f);
    for (int64_t i = 0; i < module->rank; ++i) {
      const float b = module->b[size_t(row * module->rank + i)];
      const float *a = module->a.data() + i * k;
      for (size_t j = 0; j < cols; ++j)
        update[j] += b * a[j];
    }
    if (module->magnitude.empty()) {
      const auto scale = float(module->scale * weight);
      for (size_t j = 0; j < cols; ++j)
        values[j] += scale * update[j];
      continue;
    }
    const auto scale = float(module->scale);
    double squares = 0;
    for (size_t j = 0; j < cols; ++j) {
      update[j] = before[j] + scale * update[j];
      squares += double(update[j]) * double(update[j]);
    }
    const float length = float(std::sqrt(squares));
    const float ratio = length == 0 ? 1.0f : module->magnitude[size_t(row)] / length;
    // Alone it is W' itself: its difference from W would be rounded once more.
    if (updates.size() == 1 && weight == 1)
      for (size_t j = 0; j < cols; ++j)
        values[j] = ratio * update[j];
    else
      for (size_t j = 0; j < cols; ++j)
        values[j] += float(weight) * (ratio * update[j] - before[j]);
  }
}

Result<std::unique_ptr<RowSource>> heldRows(const RowSource &source, const WeightFormat &format) {
  auto held = std::make_unique<HeldRows>(source.rows(), source.cols(), format);
  LORAC_TRY(packWeight(source, format, held->parts()));
  return std::unique_ptr<RowSource>(std::move(held));
}

} // namespace lorac::formats
