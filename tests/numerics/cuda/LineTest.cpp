// mean_lines on a device, and each with numbers of rows, columns and parameters.

#include "tests/numerics/cuda/OneKernel.h"
#include "tests/numerics/elementwise/LineCases.h"

#include <cmath>

using namespace lorac::test;
using namespace lorac::testing;

namespace {

class Lines : public OneKernelTest {};

TEST_F(Lines, Means) {
  for (const MeanCase &of : meanCases()) {
    SCOPED_TRACE(of.params());
    const LineData data = randomLines(1);
    OneKernel kernel("mean_lines", of.params(), MeanCase::body(), int64_t(data.matrices.size()));
    kernel.add(data.matrices, "5xi32");
    kernel.add(Floats{NAN, data.one}, "f32");
    if (of.average)
      kernel.add(Floats{data.keep}, "f32"), kernel.add(Floats{data.take}, "f32");
    for (const Floats *values : {&data.elements, &data.rows, &data.columns, &data.parameters})
      kernel.add(*values, "f32");
    const size_t result = kernel.add(of.before(data), "f32");
    kernel.run();
    expectNear(kernel.get<float>(result), of.expected(data));
  }
}

TEST_F(Lines, OfAMap) {
  const LineData data = randomLines(2);
  OneKernel kernel("each", mapOfLinesParams(), mapOfLinesBody(), int64_t(data.spans.size()));
  kernel.add(data.spans, "4xi32");
  kernel.add(Floats{NAN, data.one}, "f32");
  const size_t elements = kernel.add(data.elements, "f32");
  for (const Floats *values : {&data.rows, &data.columns, &data.parameters})
    kernel.add(*values, "f32");
  kernel.add(data.matrices, "5xi32");
  kernel.run();
  expectSameBits({kernel.get<float>(elements)}, {mapOfLines(data)});
}

TEST_F(Lines, SumWithResults) {
  OneKernel kernel("sum_whole",
                   "what = \"two\", ones = array<i64: 0>, writes = array<i64: 0, 0>, results = 2 : "
                   "i64, elements = \"f64 f32 f32 f32\"",
                   R"(
^bb0(%total: f64, %x: f32):
  %sum = arith.truncf %total : f64 to f32
  %product = arith.mulf %sum, %x : f32
  lora.yield %sum, %product : f32, f32)",
                   3);
  kernel.add(std::vector<double>{1, 2, 4}, "f64");
  kernel.add(Floats{0.5f}, "f32");
  const size_t first = kernel.add(Floats{-1}, "f32"), second = kernel.add(Floats{-1}, "f32");
  kernel.run();
  EXPECT_EQ(kernel.get<float>(first), Floats{7.f});
  EXPECT_EQ(kernel.get<float>(second), Floats{3.5f});
}

} // namespace
