// mean_lines, and each with numbers of rows, columns and parameters.

#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/numerics/elementwise/LineCases.h"

namespace lorac::testing {
namespace {

class Lines : public KernelTest {};
LORAC_ON_EACH_CPU(Lines);
INSTANTIATE_TEST_SUITE_P(Avx512, Lines, ::testing::Values("x86-64-v4"));

TEST_P(Lines, Means) {
  for (const MeanCase &of : meanCases()) {
    SCOPED_TRACE(of.params());
    const Kernel kernel = compile("mean_lines", of.params(), MeanCase::body());
    const LineData data = randomLines(1);
    const Array<LoracMatrix> matrices(data.matrices);
    const Array<float> one(Floats{NAN, data.one}), keep(Floats{data.keep}), take(Floats{data.take}),
        elements(data.elements), rows(data.rows), columns(data.columns),
        parameters(data.parameters);
    for (auto how : {&Kernel::run, &Kernel::runInPieces}) {
      const Array<float> result(of.before(data));
      std::vector<void *> buffers{matrices.data(), one.data()};
      if (of.average)
        buffers.insert(buffers.end(), {keep.data(), take.data()});
      buffers.insert(buffers.end(), {elements.data(), rows.data(), columns.data(),
                                     parameters.data(), result.data()});
      (kernel.*how)(buffers, int64_t(data.matrices.size()), {});
      expectNear(result.values(), of.expected(data));
    }
  }
}

TEST_P(Lines, OfAMap) {
  const Kernel kernel = compile("each", mapOfLinesParams(), mapOfLinesBody());
  const LineData data = randomLines(2);
  const Array<LoracMatrix> matrices(data.matrices);
  const Array<Span> spans(data.spans);
  const Array<float> one(Floats{NAN, data.one}), rows(data.rows), columns(data.columns),
      parameters(data.parameters);
  for (auto how : {&Kernel::run, &Kernel::runInPieces}) {
    const Array<float> elements(data.elements);
    (kernel.*how)({spans.data(), one.data(), elements.data(), rows.data(), columns.data(),
                   parameters.data(), matrices.data()},
                  int64_t(data.spans.size()), {});
    expectSameBits({elements.values()}, {mapOfLines(data)});
  }
}

// A result of its own for each number that becomes of a sum.
TEST_P(Lines, SumWithResults) {
  const Kernel kernel =
      compile("sum_whole",
              "what = \"two\", ones = array<i64: 0>, writes = array<i64: 0, 0>, results = 2 : i64, "
              "elements = \"f64 f32 f32 f32\"",
              R"(
^bb0(%total: f64, %x: f32):
  %sum = arith.truncf %total : f64 to f32
  %product = arith.mulf %sum, %x : f32
  lora.yield %sum, %product : f32, f32)");
  const Array<double> sums(std::vector<double>{1, 2, 4});
  const Array<float> x(Floats{0.5f}), first(Floats{-1}), second(Floats{-1});
  kernel.run({sums.data(), x.data(), first.data(), second.data()}, 3);
  EXPECT_EQ(first[0], 7.f);
  EXPECT_EQ(second[0], 3.5f);
}

} // namespace
} // namespace lorac::testing
