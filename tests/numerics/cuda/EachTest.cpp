// each on a device: optimizers' bodies over tables of spans, to the bit as a loop in C++.

#include "tests/numerics/cuda/OneKernel.h"
#include "tests/numerics/elementwise/EachStored.h"

#include <sstream>

using namespace lorac::test;
using namespace lorac::testing;

namespace {

class Each : public OneKernelTest {
protected:
  /// The data after a launch.
  static StoredData run(const std::string &params, const std::string &body,
                        const std::string &elements, const StoredData &data) {
    OneKernel kernel("each", params, body, int64_t(data.spans.size()));
    std::istringstream names(elements);
    std::string element;
    std::vector<Bytes> memory = data.buffers();
    for (const Bytes &bytes : memory) {
      names >> element;
      kernel.add(bytes, element == "i32" ? "4xi32" : element);
    }
    kernel.run();
    for (size_t i = 0; i < memory.size(); ++i)
      memory[i] = kernel.get<uint8_t>(i);
    return data.after(memory);
  }
  static StoredData run(const StoredCase &of, const StoredData &data) {
    return run(of.params(), of.of.body, of.elements(), data);
  }
  /// Of regions of float32 alone: the regions.
  static std::vector<Floats> run(const EachCase &of, const EachData &data) {
    StoredData stored{data.spans, data.scalars, data.ones, {}};
    for (const Floats &region : data.regions)
      stored.regions.push_back({region, {}});
    std::vector<Floats> regions;
    for (const StoredRegion &region : run(of.params(), of.body, of.elements(), stored).regions)
      regions.push_back(region.floats);
    return regions;
  }
  static void check(const StoredCase &of) {
    for (unsigned seed : {1, 2}) {
      SCOPED_TRACE(of.params() + ", seed " + std::to_string(seed));
      const StoredData data = randomStored(of, seed);
      expectSame(run(of, data).regions, expectedOf(of, data));
    }
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

TEST_F(Each, Importance) { check(importance()); }

TEST_F(Each, Lion) { check(lion()); }

TEST_F(Each, Sgd) { check(sgd()); }

TEST_F(Each, AdamWInOtherStorages) {
  for (const StoredCase &of : storedAdamw())
    check(of);
}

TEST_F(Each, LionIn8Bits) { check(storedLion()); }

TEST_F(Each, AStateThatIsReadAlone) { check(storedReader()); }

TEST_F(Each, AdamW8bitAsBitsandbytes) {
  const GoldenAdamw8bit golden;
  StoredData data = golden.start;
  for (int step = 0; step < golden.steps; ++step) {
    golden.tell(data, step);
    data = run(golden.of, data);
    golden.check(data, step);
  }
}

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
