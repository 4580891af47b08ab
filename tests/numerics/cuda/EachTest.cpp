// each on a device: optimizers' bodies over tables of spans, to the bit as a loop in C++.

#include "compiler/pipeline/CudaTarget.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tests/numerics/cuda/DeviceKernels.h"
#include "tests/numerics/elementwise/EachCases.h"
#include "tests/numerics/interpreter/Support.h"
#include "tests/numerics/program/OneOp.h"

#include <gtest/gtest.h>

using namespace lorac;
using namespace lorac::lora;
using namespace lorac::test;
using namespace lorac::testing;

namespace {

/// A kernel and a launch of it over `data`.
std::string moduleText(const EachCase &of, const EachData &data) {
  const std::string floats = std::to_string(data.regions[0].size()),
                    spans = std::to_string(data.spans.size());
  std::string buffers, operands, types;
  auto buffer = [&](const std::string &name, const std::string &type) {
    buffers += "  %" + name + " = lora.buffer io \"" + name + "\" at 0 : " + type + "\n";
    operands += (operands.empty() ? "%" : ", %") + name;
    types += (types.empty() ? "" : ", ") + type;
  };
  buffer("spans", "memref<" + spans + "x4xi32>");
  buffer("scalars", "memref<" + std::to_string(data.scalars.size()) + "xf32>");
  for (int64_t i = 0; i < of.regions; ++i)
    buffer("region" + std::to_string(i), "memref<" + floats + "xf32>");
  return "lora.kernel @k family \"each\" rows tile 0 count 0 scratch 0 {" + of.params() +
         "} body {" + of.body + "\n}\nfunc.func @update() {\n" + buffers + "  lora.launch @k(" +
         operands + ") rows [0, " + spans + "] fixed : " + types + "\n  return\n}\n";
}

template <typename T>
Simulator::Pointer uploaded(const std::vector<T> &values) {
  const size_t bytes = std::max<size_t>(values.size(), 1) * sizeof(T);
  const Simulator::Pointer memory = Simulator::get().allocate(bytes);
  if (!values.empty())
    Simulator::get().upload(memory, values.data(), values.size() * sizeof(T));
  return memory;
}

class Each : public ::testing::Test {
protected:
  void SetUp() override {
    if (std::string why = whatIsMissing(); !why.empty())
      GTEST_SKIP() << why;
  }
  /// The regions after the launch.
  static std::vector<Floats> run(const EachCase &of, const EachData &data) {
    Program program(moduleText(of, data));
    mlir::DialectRegistry registry;
    registerCudaDialects(registry);
    program.context.appendDialectRegistry(registry);
    program.context.loadAllAvailableDialects();
    DeviceKernels kernels;
    kernels.compile(*program.module);
    if (kernels.empty())
      return {};
    std::vector<Simulator::Pointer> pointers{uploaded(data.spans), uploaded(data.scalars)};
    for (const Floats &region : data.regions)
      pointers.push_back(uploaded(region));
    program.module->walk([&](LaunchOp launch) { kernels.launch(launch, pointers, /*step=*/0); });
    Simulator::get().finish();
    std::vector<Floats> after = data.regions;
    for (size_t i = 0; i < after.size(); ++i)
      Simulator::get().download(after[i].data(), pointers[2 + i], after[i].size() * sizeof(float));
    for (Simulator::Pointer memory : pointers)
      Simulator::get().free(memory);
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
    ASSERT_EQ(got.size(), wanted.size());
    if (data.spans.size() == 1) // nothing lies between spans
      expectExponentials(data.regions[0], got.back());
    got.pop_back(), wanted.pop_back();
    expectSameBits(got, wanted);
  }
}

} // namespace
