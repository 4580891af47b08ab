// Kernels of the family `each` with their meaning as plain loops in float32, and random tables of
// spans for them: one set of cases for both targets.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_EACHCASES_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_EACHCASES_H

#include <cstdint>
#include <string>
#include <vector>

namespace lorac::testing {

using Floats = std::vector<float>;

struct EachCase {
  std::string what, body;
  int64_t regions;
  std::vector<int64_t> ones;
  int64_t uniform, byGroup;
  std::vector<int64_t> writes;
  /// What the body yields for the elements `x` of the regions, for the ones and the uniform
  /// scalars behind them, and for the group's.
  Floats (*one)(const float *x, const float *uniform, const float *ofGroup);

  /// As the attribute dictionary prints, without braces.
  std::string params() const;
  /// The buffers' elements: "i32 f32 f32 …".
  std::string elements() const;
};

/// One element's update as docs/design.md has it ("Optimizers as programs"). The clip factor comes
/// from another buffer than the scalars; of lion beta1 too, from a third.
EachCase adamw();
EachCase lion();
/// With momentum, which looks ahead.
EachCase sgd();
/// AdaLoRA's averages, as AppendTriplets writes them; no scalar is of a group.
EachCase importance();
/// Two regions x and y read, and a region for the result of each op that a body may have. The last
/// one is e^x, which is not to the bit.
EachCase everyOp();

/// A row of the table: PlanSpan.
struct Span {
  int32_t offset, count, group, own;
};

struct EachData {
  std::vector<Span> spans;
  Floats scalars;
  std::vector<Floats> ones, regions;

  /// As the kernel takes them, behind the spans.
  std::vector<Floats> buffers() const;
};
/// Spans of 1 to 4096 elements in three groups, up to six elements apart but the last two, which
/// touch and end with the regions. What stands before one of the ones is NaN.
EachData randomData(const EachCase &of, unsigned seed);
/// Each pair of zeros, infinities, NaN, subnormal and other numbers in x and y, in one span.
EachData specialData(const EachCase &of);

/// The regions after the launch, by a loop over elements.
std::vector<Floats> expectedOf(const EachCase &of, const EachData &data);

/// Equal to the bit, where both are not NaN. The failure names region and element.
void expectSameBits(const std::vector<Floats> &got, const std::vector<Floats> &wanted);

/// Within 1e-6 of e^x, where x is within ±86.
void expectExponentials(const Floats &x, const Floats &got);

} // namespace lorac::testing

#endif
