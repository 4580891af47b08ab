// each on a device: optimizers' bodies over tables of spans, to the bit as a loop in C++.

#include "compiler/pipeline/CudaTarget.h"
#include "tests/numerics/cuda/DeviceKernels.h"
#include "tests/numerics/elementwise/EachStored.h"
#include "tests/numerics/interpreter/Support.h"
#include "tests/numerics/program/OneOp.h"

#include <gtest/gtest.h>

#include <sstream>

using namespace lorac;
using namespace lorac::lora;
using namespace lorac::test;
using namespace lorac::testing;

namespace {

/// A kernel and a launch of it; `elements` are those of the buffers, the spans first.
std::string moduleText(const std::string &params, const std::string &body,
                       const std::string &elements, const std::vector<Bytes> &memory) {
  const std::string spans = std::to_string(memory.front().size() / sizeof(Span));
  std::string buffers, operands, types, element;
  std::istringstream names(elements);
  for (const Bytes &bytes : memory) {
    names >> element;
    const std::string count = std::to_string(bytes.size() / (element == "i8" ? 1 : 4)),
                      name = "b" + std::to_string(operands.size()),
                      type = "memref<" + (operands.empty() ? spans + "x4" : count) + "x" + element +
                             ">";
    buffers += "  %" + name + " = lora.buffer io \"" + name + "\" at 0 : " + type + "\n";
    operands += (operands.empty() ? "%" : ", %") + name;
    types += (types.empty() ? "" : ", ") + type;
  }
  return "lora.kernel @k family \"each\" rows tile 0 count 0 scratch 0 {" + params + "} body {" +
         body + "\n}\nfunc.lora.program update @update() {\n" + buffers + "  lora.launch @k(" +
         operands + ") rows [0, " + spans + "] fixed : " + types + "\n  lora.return\n}\n";
}

class Each : public ::testing::Test {
protected:
  void SetUp() override {
    if (std::string why = whatIsMissing(); !why.empty())
      GTEST_SKIP() << why;
  }
  /// The buffers after the launch; none where the kernel did not compile.
  static std::vector<Bytes> run(const std::string &text, std::vector<Bytes> memory) {
    Program program(text);
    mlir::DialectRegistry registry;
    registerCudaDialects(registry);
    program.context.appendDialectRegistry(registry);
    program.context.loadAllAvailableDialects();
    DeviceKernels kernels;
    kernels.compile(*program.module);
    if (kernels.empty())
      return {};
    std::vector<Simulator::Pointer> pointers;
    for (const Bytes &bytes : memory) {
      pointers.push_back(Simulator::get().allocate(std::max<size_t>(bytes.size(), 4)));
      if (!bytes.empty())
        Simulator::get().upload(pointers.back(), bytes.data(), bytes.size());
    }
    program.module->walk([&](LaunchOp launch) { kernels.launch(launch, pointers, /*step=*/0); });
    Simulator::get().finish();
    for (size_t i = 0; i < memory.size(); ++i) {
      Simulator::get().download(memory[i].data(), pointers[i], memory[i].size());
      Simulator::get().free(pointers[i]);
    }
    return memory;
  }
  static StoredData run(const StoredCase &of, const StoredData &data) {
    const std::vector<Bytes> memory = data.buffers();
    return data.after(run(moduleText(of.params(), of.of.body, of.elements(), memory), memory));
  }
  /// Of regions of float32 alone: the regions.
  static std::vector<Floats> run(const EachCase &of, const EachData &data) {
    StoredData stored{data.spans, data.scalars, data.ones, {}};
    for (const Floats &region : data.regions)
      stored.regions.push_back({region, {}});
    const std::vector<Bytes> memory = stored.buffers();
    const StoredData after =
        stored.after(run(moduleText(of.params(), of.body, of.elements(), memory), memory));
    std::vector<Floats> regions;
    for (const StoredRegion &region : after.regions)
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

TEST_F(Each, Lion) { check(lion()); }

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
    ASSERT_EQ(got.size(), wanted.size());
    if (data.spans.size() == 1) // nothing lies between spans
      expectExponentials(data.regions[0], got.back());
    got.pop_back(), wanted.pop_back();
    expectSameBits(got, wanted);
  }
}

} // namespace
