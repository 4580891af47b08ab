#pragma once
// Counter-based random numbers: a value depends on what it is for, never on how many were drawn
// before, so there is no state to save.

#include <cstdint>
#include <string_view>
#include <vector>

namespace lorac::train {

/// Philox4x32-10 as in Random123 and PyTorch: four 32-bit words for a counter and a key.
struct PhiloxWords {
  uint32_t w[4];
};
PhiloxWords philox(const uint32_t (&counter)[4], const uint32_t (&key)[2]);

/// One stream of numbers, for a seed and a purpose ("model.norm.weight", "shuffle 3"). Element i is
/// at counter i/4, word i%4.
class RandomStream {
public:
  RandomStream(uint64_t seed, std::string_view purpose);

  uint32_t word(uint64_t index) const;
  /// In [0, 1), a multiple of 2^-24: exact in float.
  float uniform(uint64_t index) const;
  /// Standard normal (Box-Muller in double, from words 2i and 2i+1).
  float normal(uint64_t index) const;
  /// Fills `out[0..count)` with U(-bound, bound).
  void fillUniform(float *out, uint64_t count, float bound) const;

private:
  uint32_t key[2];
  uint32_t high[2];
};

/// A permutation of 0..count-1 (Fisher-Yates with unbiased draws).
std::vector<uint32_t> permutation(uint32_t count, uint64_t seed, std::string_view purpose);

} // namespace lorac::train
