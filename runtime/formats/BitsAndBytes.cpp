#include "runtime/formats/BitsAndBytes.h"

#include "runtime/formats/CodeRows.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/Nf4.h"
#include "runtime/formats/PackedLayout.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace lorac::formats {

/// Rows that are quantized before the source lets them go: bounds what is held of it.
constexpr int64_t rowsAtOnce = 256;

FourBitMatrix::FourBitMatrix(const WeightFormat &held, int64_t rows, int64_t cols)
    : format(held), n(rows), k(cols), packed(size_t(rows * cols + 1) / 2),
      absmax(size_t(scaleCount(held, rows, cols))) {}

Result<std::shared_ptr<const FourBitMatrix>> FourBitMatrix::quantize(const RowSource &source,
                                                                     const WeightFormat &format) {
  std::shared_ptr<FourBitMatrix> out(new FourBitMatrix(format, source.rows(), source.cols()));
  FiniteRows finite(source);
  CodeRows rows(source, format, finite);
  for (int64_t begin = 0; begin < out->n; begin += rowsAtOnce) {
    const int64_t end = std::min(out->n, begin + rowsAtOnce);
    const uint8_t *codes = rows.read(begin, end, 0, out->absmax.data());
    for (int64_t at = begin * out->k; at < end * out->k; ++at)
      out->packed[size_t(at / 2)] |= uint8_t(*codes++ << (at % 2 == 0 ? 4 : 0));
    source.done(begin, end);
  }
  if (!finite.good())
    return finite.error();
  if (format.doubleQuant) {
    const size_t blocks = out->absmax.size();
    out->nested.resize(size_t(nestedHead) + (blocks + size_t(nestedBlock) - 1) / nestedBlock);
    out->absmaxCodes.resize(blocks);
    std::copy_n(dynamicMap(Dynamic8::Signed), 256, out->nested.data());
    out->nested[256] = nestedOffset(out->absmax);
    quantizeNested(out->absmax, out->nested[256], out->absmaxCodes.data(),
                   out->nested.data() + nestedHead);
    out->absmax.clear();
  }
  return std::shared_ptr<const FourBitMatrix>(std::move(out));
}

void FourBitMatrix::readRow(int64_t row, float *out) const {
  const std::array<const void *, 3> parts = {
      packed.data(),
      format.doubleQuant ? static_cast<const void *>(absmaxCodes.data()) : absmax.data(),
      nested.data()};
  for (int64_t at = row * k; at < (row + 1) * k; ++at) {
    const uint8_t byte = packed[size_t(at / 2)];
    const int64_t block = at / format.block;
    *out++ = decodedValue(format, parts, at % 2 == 0 ? byte >> 4 : byte & 15, block, block);
  }
}

/// Key by key and space by space as Python's json.dumps writes it.
std::string FourBitMatrix::state(std::string_view element) const {
  std::string text =
      fmt::format(R"({{"quant_type": "{}", "blocksize": {}, "dtype": "{}", "shape": [{}, {}])",
                  codebooks[size_t(format.codebook)].name, format.block, element, n, k);
  if (format.doubleQuant)
    text +=
        fmt::format(R"(, "nested_blocksize": {}, "nested_dtype": "float32", "nested_offset": {})",
                    nestedBlock, nlohmann::json(double(nested[256])).dump());
  return text + "}";
}

std::vector<StreamedTensor> FourBitMatrix::tensors(std::shared_ptr<const FourBitMatrix> matrix,
                                                   const std::string &name,
                                                   std::string_view element) {
  const FourBitMatrix &m = *matrix;
  std::vector<StreamedTensor> all;
  const auto add = [&](const std::string &suffix, DType type, std::vector<int64_t> shape,
                       const void *data) {
    StreamedTensor tensor{name + suffix, type, std::move(shape), nullptr};
    tensor.write = [matrix, data, size = tensor.bytes()](DurableFile &file) {
      return file.write(data, size);
    };
    all.push_back(std::move(tensor));
  };
  const auto blocks = int64_t(m.format.doubleQuant ? m.absmaxCodes.size() : m.absmax.size());
  add("", DType::U8, {int64_t(m.packed.size()), 1}, m.packed.data());
  add(".quant_map", DType::F32, {16}, codebooks[size_t(m.format.codebook)].values);
  if (m.format.doubleQuant) {
    add(".absmax", DType::U8, {blocks}, m.absmaxCodes.data());
    add(".nested_absmax", DType::F32, {int64_t(m.nested.size()) - nestedHead},
        m.nested.data() + nestedHead);
    add(".nested_quant_map", DType::F32, {256}, m.nested.data());
  } else {
    add(".absmax", DType::F32, {blocks}, m.absmax.data());
  }
  const auto text = std::make_shared<const std::string>(m.state(element));
  all.push_back({fmt::format("{}.quant_state.bitsandbytes__{}", name,
                             codebooks[size_t(m.format.codebook)].name),
                 DType::U8,
                 {int64_t(text->size())},
                 [text](DurableFile &file) { return file.write(*text); }});
  return all;
}

} // namespace lorac::formats
