#include "runtime/train/Random.h"

#include "runtime/formats/Hash.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace lorac::train {

PhiloxWords philox(const uint32_t (&counter)[4], const uint32_t (&key)[2]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    uint32_t n0 = uint32_t(p1 >> 32) ^ c1 ^ k0, n2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1);
    c3 = uint32_t(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

RandomStream::RandomStream(uint64_t seed, std::string_view purpose) {
  uint64_t hash = formats::hash64(purpose);
  key[0] = uint32_t(seed);
  key[1] = uint32_t(seed >> 32);
  high[0] = uint32_t(hash);
  high[1] = uint32_t(hash >> 32);
}

uint32_t RandomStream::word(uint64_t index) const {
  uint64_t block = index / 4;
  return philox({uint32_t(block), uint32_t(block >> 32), high[0], high[1]}, key).w[index % 4];
}

float RandomStream::uniform(uint64_t index) const { return float(word(index) >> 8) * 0x1p-24f; }

float RandomStream::normal(uint64_t index) const {
  // Never 0, so the logarithm is finite.
  double u = (double(word(2 * index)) + 0.5) * 0x1p-32;
  double v = (double(word(2 * index + 1)) + 0.5) * 0x1p-32;
  return float(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * M_PI * v));
}

void RandomStream::fillUniform(float *out, uint64_t count, float bound) const {
  for (uint64_t i = 0; i < count; ++i)
    out[i] = (2.0f * uniform(i) - 1.0f) * bound;
}

std::vector<uint32_t> permutation(uint32_t count, uint64_t seed, std::string_view purpose) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  RandomStream stream(seed, purpose);
  uint64_t drawn = 0;
  for (uint32_t i = count; i > 1; --i) {
    // Words beyond the last multiple of i are drawn again: every place is equally likely.
    uint32_t limit = uint32_t(-(uint64_t(1) << 32) % i), r;
    do
      r = stream.word(drawn++);
    while (r < limit);
    std::swap(order[i - 1], order[r % i]);
  }
  return order;
}

} // namespace lorac::train
