#include "tests/numerics/gemm/PackedMatrix.h"
#include <bit>
#include <cmath>
#include <cstring>

using namespace lorac::testing;

float lorac::testing::fromHalf(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double value =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<float>(bits & 0x8000 ? -value : value);
}

uint16_t lorac::testing::toHalf(float value) {
  double magnitude = std::fabs(static_cast<double>(value));
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  int exponent = magnitude == 0 ? -14 : std::max(-14, std::ilogb(magnitude));
  auto units = static_cast<uint16_t>(
      std::nearbyint(std::ldexp(magnitude, 10 - exponent))); // 1024 + mantissa, or subnormal
  return sign + (units < 1024 ? units : units - 1024 + ((exponent + 15) << 10));
}

// QLoRA's quantiles and bitsandbytes' fp4, as their tables print them.
static const float nf4[16] = {-1.0f,
                              -0.6961928009986877f,
                              -0.5250730514526367f,
                              -0.39491748809814453f,
                              -0.28444138169288635f,
                              -0.18477343022823334f,
                              -0.09105003625154495f,
                              0.0f,
                              0.07958029955625534f,
                              0.16093020141124725f,
                              0.24611230194568634f,
                              0.33791524171829224f,
                              0.44070982933044434f,
                              0.5626170039176941f,
                              0.7229568362236023f,
                              1.0f};
static const float fp4[8] = {0.0f,      0.0625f / 12, 8.0f / 12, 12.0f / 12,
                             4.0f / 12, 6.0f / 12,    2.0f / 12, 3.0f / 12};
// ggml's IQ4_NL.
static const float iq4nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};

PackedMatrix::PackedMatrix(const std::string &format, int64_t n, int64_t k, unsigned seed)
    : n(n), k(k), values(n * k) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.5f);
  std::string name = format.substr(0, format.find('<'));
  int64_t panels = (n + 15) / 16;
  auto forEach = [&](auto body) {
    for (int64_t row = 0; row < n; ++row)
      for (int64_t kk = 0; kk < k; ++kk)
        body(row, kk, values[row * k + kk], ((row / 16) * k + kk) * 16 + row % 16);
  };
  auto part = [&](size_t bytes) { return parts.emplace_back(bytes).data(); };

  if (name == "f32") {
    auto *panel = static_cast<float *>(part(panels * k * 64));
    forEach(
        [&](int64_t, int64_t, float &value, int64_t at) { panel[at] = value = normal(random); });
    return;
  }
  if (name == "f16" || name == "bf16") {
    auto *panel = static_cast<uint16_t *>(part(panels * k * 32));
    forEach([&](int64_t row, int64_t, float &value, int64_t at) {
      float exact =
          normal(random) * (row % 5 == 0 ? 1e-6f : 1.0f); // halves of the first kind are subnormal
      panel[at] = name == "f16" ? toHalf(exact) : std::bit_cast<uint32_t>(exact) >> 16;
      value = name == "f16" ? fromHalf(panel[at]) : std::bit_cast<float>(uint32_t(panel[at]) << 16);
    });
    return;
  }

  bool bytes = name == "int8", flat = name == "nf4" || name == "fp4" || name == "iq4nl";
  int64_t block = std::stoll(format.substr(format.find('<') + 1));
  auto *codes = static_cast<uint8_t *>(part(panels * k * (bytes ? 16 : 8)));
  std::vector<int> code(n * k);
  for (int &c : code)
    c = bytes ? int(random() % 255) - 127 : int(random() % 16);
  forEach([&](int64_t row, int64_t kk, float &, int64_t at) {
    int c = code[row * k + kk], lane = row % 16;
    if (bytes)
      codes[at] = static_cast<uint8_t>(c);
    else
      codes[((row / 16) * k + kk) * 8 + lane % 8] |= lane < 8 ? c : c << 4;
  });
  if (!flat) {
    int64_t blocks = n * (k / block);
    bool half = format.find("f16") != std::string::npos,
         minima = format.find("min") != std::string::npos;
    // The numbers of a part, as they are read back.
    auto numbers = [&](float deviation) {
      std::vector<float> all(blocks);
      auto *to = static_cast<char *>(part(blocks * (half ? 2 : 4)));
      for (int64_t b = 0; b < blocks; ++b) {
        float exact = normal(random) * deviation;
        uint16_t bits = toHalf(exact);
        all[b] = half ? fromHalf(bits) : exact;
        half ? std::memcpy(to + 2 * b, &bits, 2) : std::memcpy(to + 4 * b, &exact, 4);
      }
      return all;
    };
    std::vector<float> d = numbers(0.1f), m;
    if (minima)
      m = numbers(1);
    forEach([&](int64_t row, int64_t kk, float &value, int64_t) {
      int64_t b = row * (k / block) + kk / block;
      int c = code[row * k + kk] - (bytes || minima ? 0 : 8);
      value = static_cast<float>(c) * d[b];
      if (minima)
        value = value + m[b];
    });
    return;
  }

  int64_t blocks = (n * k + block - 1) / block;
  std::vector<float> scale(blocks);
  if (format.find("dq256") == std::string::npos) {
    auto *absmax = static_cast<float *>(part(blocks * 4));
    for (int64_t b = 0; b < blocks; ++b)
      absmax[b] = scale[b] = std::fabs(normal(random));
  } else {
    auto *absmax = static_cast<uint8_t *>(part(blocks));
    auto *nested = static_cast<float *>(part((257 + (blocks + 255) / 256) * 4));
    for (int64_t i = 0; i < 257 + (blocks + 255) / 256; ++i)
      nested[i] = normal(random);
    for (int64_t b = 0; b < blocks; ++b) {
      absmax[b] = static_cast<uint8_t>(random());
      float product = nested[absmax[b]] * nested[257 + b / 256];
      scale[b] = product + nested[256];
    }
  }
  forEach([&](int64_t row, int64_t kk, float &value, int64_t) {
    int c = code[row * k + kk];
    float unit = name == "nf4" ? nf4[c] : name == "iq4nl" ? iq4nl[c] : c < 8 ? fp4[c] : -fp4[c - 8];
    value = unit * scale[(row * k + kk) / block];
  });
}
