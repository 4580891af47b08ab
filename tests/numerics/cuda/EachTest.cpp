// each on a device: optimizers' bodies over tables of spans, to the bit as a loop in C++.

#include "tests/numerics/cuda/OneKernel.h"
#include "tests/numerics/elementwise/EachCases.h"

using namespace lorac::test;
using namespace lorac::testing;

namespace {

class Each : public OneKernelTest {
protected:
  /// The regions after the launch.
  static std::vector<Floats> run(const EachCase &of, const EachData &data) {
    OneKernel kernel("each", of.params(), of.body, int64_t(data.spans.size()));
    size_t last = kernel.add(data.spans, "x4xi32");
    for (const Floats &values : data.buffers())
      last = kernel.add(values, "xf32");
    kernel.run();
    std::vector<Floats> after;
    for (size_t i = last + 1 - data.regions.size(); i <= last; ++i)
      after.push_back(kernel.get<float>(i));
    return after;
  }
  static void check(const EachCase &of) {
    for (unsigned seed : {1, 2}) {
      SCOPED_TRACE(of.what + ", seed " + std::to_string(seed));
      const EachData data = randomData(of, seed);
      expectSameBits(run(of, data), expectedOf(of, data));
    }
  }
};

TEST_F(Each, AdamW) { check(adamw()); }

TEST_F(Each, Lion) { check(lion()); }

TEST_F(Each, EveryOpOfABody) {
  const EachCase of = everyOp();
  for (const EachData &data : {specialData(of), randomData(of, 4)}) {
    std::vector<Floats> got = run(of, data), wanted = expectedOf(of, data);
    if (data.spans.size() == 1) // nothing lies between spans
      expectExponentials(data.regions[0], got.back());
    got.pop_back(), wanted.pop_back();
    expectSameBits(got, wanted);
  }
}

} // namespace
