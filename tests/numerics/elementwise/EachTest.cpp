// each: optimizers' bodies over tables of spans, to the bit as a loop in C++; what a body may hold.

#include "compiler/codegen/cpu/GenerateKernels.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "tests/numerics/elementwise/EachStored.h"
#include "tests/numerics/elementwise/KernelFixture.h"

namespace lorac::testing {
namespace {

class Each : public KernelTest {
protected:
  using Runner = void (Kernel::*)(const std::vector<void *> &, int64_t, const LoracStep &) const;

  /// The regions after the launch; the buffers end where their pages do.
  static std::vector<Floats> run(const Kernel &kernel, Runner how, const EachData &data) {
    const Array<Span> spans(data.spans);
    std::vector<Array<float>> floats;
    std::vector<void *> buffers{spans.data()};
    for (const Floats &values : data.buffers())
      buffers.push_back(floats.emplace_back(values).data());
    (kernel.*how)(buffers, int64_t(data.spans.size()), {});
    std::vector<Floats> after;
    for (size_t i = floats.size() - data.regions.size(); i < floats.size(); ++i)
      after.push_back(floats[i].values());
    return after;
  }
  /// The same of regions in any storage.
  static StoredData run(const Kernel &kernel, Runner how, const StoredData &data) {
    std::vector<Array<uint8_t>> memory;
    std::vector<void *> pointers;
    for (const Bytes &bytes : data.buffers())
      pointers.push_back(memory.emplace_back(bytes).data());
    (kernel.*how)(pointers, int64_t(data.spans.size()), {});
    std::vector<Bytes> after;
    for (const Array<uint8_t> &bytes : memory)
      after.push_back(bytes.values());
    return data.after(after);
  }
  void check(const StoredCase &of) {
    SCOPED_TRACE(of.params());
    const Kernel kernel = compile("each", of.params(), of.of.body);
    for (unsigned seed : {1, 2, 3}) {
      SCOPED_TRACE(seed);
      const StoredData data = randomStored(of, seed);
      const std::vector<StoredRegion> wanted = expectedOf(of, data);
      expectSame(run(kernel, &Kernel::run, data).regions, wanted);
      expectSame(run(kernel, &Kernel::runInPieces, data).regions, wanted);
    }
  }
  void check(const EachCase &of) {
    const Kernel kernel = compile("each", of.params(), of.body);
    for (unsigned seed : {1, 2, 3}) {
      SCOPED_TRACE(of.what + ", seed " + std::to_string(seed));
      const EachData data = randomData(of, seed);
      const std::vector<Floats> wanted = expectedOf(of, data);
      expectSameBits(run(kernel, &Kernel::run, data), wanted);
      expectSameBits(run(kernel, &Kernel::runInPieces, data), wanted);
    }
  }
};
LORAC_ON_EACH_CPU(Each);
INSTANTIATE_TEST_SUITE_P(Avx512, Each, ::testing::Values("x86-64-v4"));

TEST_P(Each, AdamW) { check(adamw()); }

TEST_P(Each, Importance) { check(importance()); }

TEST_P(Each, Lion) { check(lion()); }

TEST_P(Each, Sgd) { check(sgd()); }

TEST_P(Each, EveryOpOfABody) {
  const EachCase of = everyOp();
  const Kernel kernel = compile("each", of.params(), of.body);
  for (const EachData &data : {specialData(of), randomData(of, 4)}) {
    std::vector<Floats> got = run(kernel, &Kernel::run, data), wanted = expectedOf(of, data);
    if (data.spans.size() == 1) // nothing lies between spans
      expectExponentials(data.regions[0], got.back());
    got.pop_back(), wanted.pop_back();
    expectSameBits(got, wanted);
  }
}

TEST_P(Each, AdamWInOtherStorages) {
  for (const StoredCase &of : storedAdamw())
    check(of);
}

TEST_P(Each, LionIn8Bits) { check(storedLion()); }

TEST_P(Each, AStateThatIsReadAlone) { check(storedReader()); }

TEST_P(Each, AdamW8bitAsBitsandbytes) {
  const GoldenAdamw8bit golden;
  const Kernel kernel = compile("each", golden.of.params(), golden.of.of.body);
  StoredData data = golden.start;
  for (int step = 0; step < golden.steps; ++step) {
    golden.tell(data, step);
    data = run(kernel, &Kernel::run, data);
    golden.check(data, step);
  }
}

// A table without spans is a launch without tiles.
TEST_P(Each, NoSpans) {
  const EachCase of = lion();
  EachData data = randomData(of, 5);
  data.spans.clear();
  expectSameBits(run(compile("each", of.params(), of.body), &Kernel::run, data), data.regions);
}

/// What generateKernels says of a kernel whose body computes %r from %x; "" where it takes it.
std::string complaintOf(const std::string &family, const std::string &params,
                        const std::string &ops) {
  mlir::DialectRegistry registry;
  registry.insert<lora::LoraDialect, mlir::arith::ArithDialect, mlir::math::MathDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  std::string said;
  mlir::ScopedDiagnosticHandler handler(
      &context, [&](mlir::Diagnostic &diagnostic) { said += diagnostic.str(); });
  auto planned = mlir::parseSourceString<mlir::ModuleOp>(
      "lora.kernel @k family \"" + family + "\" rows tile " + (family == "map" ? "16" : "1") +
          " count 0 scratch " + (family == "sum_spans" ? "2048" : "0") + " {" + params +
          "} body {\n^bb0(%x: f32):\n" + ops + "\nlora.yield %r : f32\n}",
      &context);
  EXPECT_TRUE(planned) << said;
  auto target = cpu::CpuTarget::get("x86-64");
  EXPECT_TRUE(bool(target));
  return planned && mlir::failed(cpu::generateKernels(*planned, *target)) ? said : "";
}

TEST(EachBody, AnOpWithoutVectorFormIsRefusedByName) {
  const std::pair<std::string, std::string> families[] = {
      {"map", "cols = 16 : i64, ins = 1 : i64, outs = 1 : i64, lds = array<i64: 16, 16>"},
      {"each", "what = \"one\", regions = 1 : i64, uniform = 0 : i64, by_group = 0 : i64, "
               "ones = array<i64>, writes = array<i64: 0>"}};
  for (const auto &[family, params] : families) {
    EXPECT_EQ(complaintOf(family, params, "%r = math.absf %x : f32"), "");
    EXPECT_EQ(complaintOf(family, params, "%r = math.sin %x : f32"),
              "a map has no vector form of 'math.sin'");
    EXPECT_EQ(complaintOf(family, params,
                          "%c = arith.cmpf ult, %x, %x : f32\n"
                          "%r = arith.select %c, %x, %x : f32"),
              "a map has no vector form of 'arith.cmpf ult'");
  }
  EXPECT_EQ(complaintOf("sum_spans", "what = \"one\", regions = 1 : i64",
                        "%w = arith.extf %x : f32 to f64\n%e = math.exp %w : f64\n"
                        "%r = arith.truncf %e : f64 to f32"),
            "a map has no vector form of 'math.exp'")
      << "of float32 alone";
}

} // namespace
} // namespace lorac::testing
