// Rows that come from no file.
#include "runtime/formats/Hash.h"
#include "runtime/formats/PackedWeight.h"

#define R123_USE_SSE 0
#define R123_THROW(x) __builtin_trap()
#include <Random123/philox.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

namespace lorac::formats {
namespace {

class DenseRows : public RowSource {
public:
  DenseRows(const float *data, int64_t rowCount, int64_t colCount) : values(data) {
    n = rowCount;
    k = colCount;
  }
  void readRow(int64_t row, float *out) const override {
    memcpy(out, values + row * k, size_t(k) * 4);
  }

private:
  const float *values;
};

class SeededRows : public RowSource {
public:
  SeededRows(uint64_t seed, const std::string &name, const std::vector<int64_t> &shape,
             double deviation)
      : key{{uint32_t(seed), uint32_t(seed >> 32)}}, hash(hash64(name)), std(deviation),
        ones(shape.size() == 1) {
    n = ones ? 1 : shape[0];
    k = shape.back();
  }

  void readRow(int64_t row, float *out) const override {
    if (ones) {
      std::fill(out, out + k, 1.0f);
      return;
    }
    // Element i: Box-Muller of the words 2i and 2i+1 of this tensor's stream.
    for (int64_t kk = 0; kk < k; ++kk) {
      const uint64_t i = uint64_t(row * k + kk), block = i / 2;
      r123::Philox4x32::ctr_type counter = {
          {uint32_t(block), uint32_t(block >> 32), uint32_t(hash), uint32_t(hash >> 32)}};
      const auto words = r123::Philox4x32()(counter, key);
      const double u = (double(words[i % 2 * 2]) + 0.5) * 0x1p-32,
                   v = double(words[i % 2 * 2 + 1]) * 0x1p-32;
      out[kk] = float(std * std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
    }
  }

private:
  r123::Philox4x32::key_type key;
  uint64_t hash;
  double std;
  bool ones;
};

} // namespace

std::unique_ptr<RowSource> denseRows(const float *values, int64_t n, int64_t k) {
  return std::make_unique<DenseRows>(values, n, k);
}

std::unique_ptr<RowSource> seededRows(uint64_t seed, const std::string &name,
                                      const std::vector<int64_t> &shape, double std) {
  return std::make_unique<SeededRows>(seed, name, shape, std);
}

} // namespace lorac::formats
