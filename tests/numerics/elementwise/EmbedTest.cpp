// embed: rows of a packed weight, whatever its format.

#include "tests/numerics/elementwise/KernelFixture.h"

#include <functional>

namespace lorac::testing {
namespace {

class Embed : public KernelTest {};
LORAC_ON_EACH_CPU(Embed);

// The values of bitsandbytes' code books.
constexpr double kNf4[16] = {-1.0,
                             -0.6961928009986877,
                             -0.5250730514526367,
                             -0.39491748809814453,
                             -0.28444138169288635,
                             -0.18477343022823334,
                             -0.09105003625154495,
                             0.0,
                             0.07958029955625534,
                             0.16093020141124725,
                             0.24611230194568634,
                             0.33791524171829224,
                             0.44070982933044434,
                             0.5626170039176941,
                             0.7229568362236023,
                             1.0};

// Sign, then twelfths: bitsandbytes' fp4.
constexpr double kFp4[16] = {
    0,   0.0625 / 12,  8. / 12,  1,  4. / 12,  6. / 12,  2. / 12,  3. / 12,
    -0., -0.0625 / 12, -8. / 12, -1, -4. / 12, -6. / 12, -2. / 12, -3. / 12};

/// A matrix [n, k] as codes, and the scales that a format keeps beside them.
struct Packed {
  int64_t n, k;
  std::vector<double> values = std::vector<double>(n * k);
  std::vector<Guarded> parts;

  int64_t panels() const { return (n + 15) / 16; }
  template <typename T>
  void add(const std::vector<T> &part) {
    parts.emplace_back(part.size() * sizeof(T));
    std::memcpy(parts.back().data(), part.data(), part.size() * sizeof(T));
  }
  /// Panels of 16 rows of one T a value.
  template <typename T>
  void addPanels(const std::function<T(int64_t, int64_t)> &element) {
    std::vector<T> part(panels() * k * 16);
    for (int64_t row = 0; row < n; ++row)
      for (int64_t kk = 0; kk < k; ++kk)
        part[(row / 16 * k + kk) * 16 + row % 16] = element(row, kk);
    add(part);
  }
  /// Panels of 16 rows of 4-bit codes: byte j holds lanes j and j + 8.
  void addNibbles(const std::vector<uint8_t> &codes) {
    std::vector<uint8_t> part(panels() * k * 8);
    for (int64_t row = 0; row < n; ++row)
      for (int64_t kk = 0; kk < k; ++kk)
        part[(row / 16 * k + kk) * 8 + row % 8] |= codes[row * k + kk] << (row % 16 >= 8 ? 4 : 0);
    add(part);
  }
};

uint16_t bits(_Float16 value) {
  uint16_t result;
  std::memcpy(&result, &value, 2);
  return result;
}

Packed dense(std::string_view format, int64_t n, int64_t k, std::mt19937 &random) {
  Packed packed{n, k};
  std::normal_distribution<float> normal;
  std::vector<float> weights(n * k);
  for (float &weight : weights)
    weight = normal(random);
  weights[0] = 0;
  if (n * k > 3) {
    weights[1] = 1e-6f; // a subnormal f16
    weights[2] = -65504;
    weights[3] = -0.f;
  }
  if (format == "f32")
    packed.addPanels<float>([&](int64_t row, int64_t kk) {
      packed.values[row * k + kk] = weights[row * k + kk];
      return weights[row * k + kk];
    });
  else if (format == "f16")
    packed.addPanels<uint16_t>([&](int64_t row, int64_t kk) {
      _Float16 half = static_cast<_Float16>(weights[row * k + kk]);
      packed.values[row * k + kk] = half;
      return bits(half);
    });
  else
    packed.addPanels<uint16_t>([&](int64_t row, int64_t kk) {
      uint32_t word;
      std::memcpy(&word, &weights[row * k + kk], 4);
      uint32_t cut = word & 0xffff0000u;
      float value;
      std::memcpy(&value, &cut, 4);
      packed.values[row * k + kk] = value;
      return static_cast<uint16_t>(word >> 16);
    });
  return packed;
}

Packed ggufBlocks(std::string_view format, int64_t n, int64_t k, std::mt19937 &random) {
  Packed packed{n, k};
  std::vector<uint16_t> d(n * k / 32), m(n * k / 32);
  std::vector<double> scale(d.size()), minimum(d.size());
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < d.size(); ++i) {
    _Float16 a = static_cast<_Float16>(normal(random) * 0.01f),
             b = static_cast<_Float16>(normal(random));
    d[i] = bits(a), scale[i] = a, m[i] = bits(b), minimum[i] = b;
  }
  if (format == "int8<32, f16>") {
    packed.addPanels<int8_t>([&](int64_t row, int64_t kk) {
      int8_t code = static_cast<int8_t>(random() % 256);
      packed.values[row * k + kk] = code * scale[(row * k + kk) / 32];
      return code;
    });
    packed.add(d);
    return packed;
  }
  std::vector<uint8_t> codes(n * k);
  for (int64_t i = 0; i < n * k; ++i) {
    codes[i] = random() % 16;
    packed.values[i] = format == "int4<32, f16>" ? (codes[i] - 8) * scale[i / 32]
                                                 : codes[i] * scale[i / 32] + minimum[i / 32];
  }
  packed.addNibbles(codes);
  packed.add(d);
  if (format == "int4<32, f16, min>")
    packed.add(m);
  return packed;
}

/// A normal-float weight; `book` gives the value of a code.
Packed normalFloat(const double *book, int64_t block, bool doubleQuant, int64_t n, int64_t k,
                   std::mt19937 &random) {
  Packed packed{n, k};
  int64_t blocks = (n * k + block - 1) / block;
  std::uniform_real_distribution<float> uniform(0.01f, 1);
  std::vector<double> scale(blocks);
  std::vector<float> absmax(blocks), nested(257 + (blocks + 255) / 256);
  std::vector<uint8_t> quantized(blocks);
  for (float &value : nested)
    value = uniform(random);
  for (int64_t b = 0; b < blocks; ++b) {
    absmax[b] = uniform(random);
    quantized[b] = random() % 256;
    scale[b] = doubleQuant ? double(nested[quantized[b]]) * nested[257 + b / 256] + nested[256]
                           : absmax[b];
  }
  std::vector<uint8_t> codes(n * k);
  for (int64_t i = 0; i < n * k; ++i) {
    codes[i] = random() % 16;
    packed.values[i] = book[codes[i]] * scale[i / block];
  }
  packed.addNibbles(codes);
  if (doubleQuant) {
    packed.add(quantized);
    packed.add(nested);
  } else {
    packed.add(absmax);
  }
  return packed;
}

class EmbedRun {
public:
  EmbedRun(Kernel kernel, const Packed &weight) : kernel(std::move(kernel)), weight(weight) {}

  void check(int64_t rows, std::mt19937 &random) {
    std::vector<int32_t> ids(rows);
    for (int32_t &id : ids)
      id = random() % weight.n;
    if (rows > 1)
      ids[0] = weight.n - 1, ids[1] = 0;
    Array<int32_t> input(ids);
    Padded y(rows, weight.k), cut(rows, weight.k);
    std::vector<double> expected;
    for (int32_t id : ids)
      expected.insert(expected.end(), &weight.values[id * weight.k],
                      &weight.values[id * weight.k] + weight.k);
    std::vector<void *> buffers{input.data()};
    for (const Guarded &part : weight.parts)
      buffers.push_back(part.data());
    buffers.push_back(y.data());
    kernel.run(buffers, rows);
    EXPECT_LT(worst(y.dense(), expected, 1e-9), 1e-6) << weight.n << "x" << weight.k;
    buffers.back() = cut.data();
    kernel.runInPieces(buffers, rows);
    EXPECT_EQ(y.dense(), cut.dense());
  }

private:
  Kernel kernel;
  const Packed &weight;
};

std::string params(std::string_view format, int64_t n, int64_t k) {
  return llvm::formatv("n = {0} : i64, k = {1} : i64, ldy = {2} : i64, format = \"{3}\"", n, k,
                       padded(k), format);
}

TEST_P(Embed, DenseFormats) {
  for (const char *format : {"f32", "f16", "bf16"})
    for (auto [n, k] : {std::pair<int64_t, int64_t>{1, 1}, {7, 63}, {64, 64}, {50, 172}}) {
      std::mt19937 random(n + k);
      Packed weight = dense(format, n, k, random);
      EmbedRun run(compile("embed", params(format, n, k)), weight);
      for (int64_t rows : {0, 1, 7, 300})
        run.check(rows, random);
    }
}

TEST_P(Embed, GgufBlocks) {
  for (const char *format : {"int8<32, f16>", "int4<32, f16>", "int4<32, f16, min>"})
    for (auto [n, k] : {std::pair<int64_t, int64_t>{7, 32}, {50, 96}}) {
      std::mt19937 random(n + k);
      Packed weight = ggufBlocks(format, n, k, random);
      EmbedRun run(compile("embed", params(format, n, k)), weight);
      for (int64_t rows : {0, 1, 7, 300})
        run.check(rows, random);
    }
}

TEST_P(Embed, NormalFloatBlocksThatStraddleRows) {
  for (bool doubleQuant : {false, true})
    for (auto [kind, n, k, block] :
         {std::tuple<const char *, int64_t, int64_t, int64_t>{"nf4", 7, 96, 64},
          {"nf4", 50, 172, 64},
          {"fp4", 33, 20, 128},
          {"nf4", 300, 64, 64}}) {
      std::mt19937 random(n + k);
      const double *book = kind == std::string("nf4") ? kNf4 : kFp4;
      Packed weight = normalFloat(book, block, doubleQuant, n, k, random);
      std::string format = llvm::formatv("{0}<{1}{2}>", kind, block, doubleQuant ? ", dq256" : "");
      EmbedRun run(compile("embed", params(format, n, k)), weight);
      for (int64_t rows : {0, 1, 7, 300})
        run.check(rows, random);
    }
}

} // namespace
} // namespace lorac::testing
