// Kernels of the family `each` whose regions lie in 8 bits or compactly, with their meaning as
// plain loops: one set of cases for both targets.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_EACHSTORED_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_EACHSTORED_H

#include "tests/numerics/elementwise/EachCases.h"

namespace lorac::testing {

using Bytes = std::vector<uint8_t>;

struct StoredCase {
  EachCase of;
  std::vector<std::string> storage; ///< of each region, as the param has it

  std::string params() const;
  /// The buffers' elements: "i32 f32 … i8 f32 f32".
  std::string elements() const;
};

/// AdamW with both states in 8 bits, with both compact, with the first in 8 bits alone.
std::vector<StoredCase> storedAdamw();
StoredCase storedLion();
/// Reads a state in 8 bits and does not write it.
StoredCase storedReader();

struct StoredRegion {
  Floats floats; ///< its numbers, or the absmax of its blocks
  Bytes codes;
};

struct StoredData {
  std::vector<Span> spans;
  Floats scalars;
  std::vector<Floats> ones;
  std::vector<StoredRegion> regions;

  /// As the kernel takes them: the maps' table last, where there are codes.
  std::vector<Bytes> buffers() const;
  /// The same with the regions as they are in the buffers after a launch.
  StoredData after(const std::vector<Bytes> &buffers) const;
};

/// Parameters of 1, 255, 256, 257, 4095, 4097, 8192 and 5000 elements in three groups, up to six
/// elements apart; their spans in any order. Gradients have parts that are 0 and parts so small
/// that squares are no normal numbers; the absmax of some blocks is 0.
StoredData randomStored(const StoredCase &of, unsigned seed);

/// The regions after the launch, by loops over blocks and elements.
std::vector<StoredRegion> expectedOf(const StoredCase &of, const StoredData &data);

void expectSame(const std::vector<StoredRegion> &got, const std::vector<StoredRegion> &wanted);

/// 1024 parameters over five steps of bitsandbytes' AdamW8bit.
class GoldenAdamw8bit {
public:
  GoldenAdamw8bit();
  static constexpr int steps = 5;
  /// Gradients and scalars of step `number`, from 0.
  void tell(StoredData &data, int number) const;
  /// Parameters after that step: within an ulp or two, since torch fuses products and sums of the
  /// states, and its square root is no rounded one. After the last step codes equal, absmax within
  /// an ulp.
  void check(const StoredData &data, int number) const;

  StoredCase of;
  StoredData start;

private:
  Floats grads, params; ///< of all steps
  StoredRegion m, v;    ///< after the last
};

} // namespace lorac::testing

#endif
