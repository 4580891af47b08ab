#pragma once
// Matrices to pack, and threads to pack them with.

#include "runtime/formats/PackedWeight.h"

#include <functional>
#include <random>
#include <thread>
#include <vector>

namespace lorac::formats {

/// A matrix stored as blocks of one type.
class BlockRows : public RowSource {
public:
  BlockRows(GgmlType stored, const std::vector<float> &values, int64_t rowCount, int64_t colCount)
      : type(stored) {
    n = rowCount;
    k = colCount;
    bytes.resize(size_t(rowBytes(type, n * k)));
    encodeRow(type, values.data(), bytes.data(), n * k);
  }
  BlockRows(GgmlType stored, std::vector<uint8_t> raw, int64_t rowCount, int64_t colCount)
      : type(stored), bytes(std::move(raw)) {
    n = rowCount;
    k = colCount;
  }
  void readRow(int64_t row, float *out) const override { decodeRow(type, rawRow(row), out, k); }
  const GgmlTypeInfo *stored() const override { return ggmlTypeInfo(type); }
  void readCodes(int64_t row, uint8_t *codes, float *scales, float *minima) const override {
    decodeCodes(type, rawRow(row), k, codes, scales, minima);
  }
  const uint8_t *rawRow(int64_t row) const { return bytes.data() + row * rowBytes(type, k); }

private:
  GgmlType type;
  std::vector<uint8_t> bytes;
};

inline std::vector<float> randomMatrix(int64_t n, int64_t k) {
  std::mt19937 random{uint32_t(n * 1000 + k)};
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> values(static_cast<size_t>(n * k));
  for (float &v : values)
    v = normal(random);
  return values;
}

/// Two threads, cut in an odd place.
inline void twoThreads(int64_t count, const std::function<void(int64_t, int64_t)> &body) {
  std::thread other(body, 0, count / 3);
  body(count / 3, count);
  other.join();
}

} // namespace lorac::formats
