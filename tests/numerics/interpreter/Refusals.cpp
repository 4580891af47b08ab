// What the interpreter does not run it says at the op.

#include "mlir/IR/Diagnostics.h"
#include "tests/numerics/interpreter/Support.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac::reference;
using namespace lorac::test;
using testing::HasSubstr;

static std::string messageOf(Program &program, llvm::ArrayRef<HostTensor> arguments,
                             const Environment &environment = {}) {
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&program.context, [&](mlir::Diagnostic &diagnostic) {
    message += diagnostic.str();
    return mlir::success();
  });
  EXPECT_TRUE(failed(interpret(program.function("f"), arguments, environment)));
  return message;
}

static const char *embedText = R"(
  lora.frozen @w : !lora.weight<4x3, f32>
  lora.program micro_batch @f(%ids: tensor<?xi32>) -> tensor<?x3xf32> {
    %w = lora.use @w : !lora.weight<4x3, f32>
    %x = lora.embed %ids, %w : (tensor<?xi32>, !lora.weight<4x3, f32>) -> tensor<?x3xf32>
    lora.return %x : tensor<?x3xf32>
  })";

TEST(Refusals, MissingSymbol) {
  Program program(embedText);
  EXPECT_THAT(messageOf(program, {HostTensor{{1}, {0}}}),
              HasSubstr("the environment holds no value named 'w'"));
}

TEST(Refusals, SymbolOfAnotherShape) {
  Program program(embedText);
  Environment environment;
  environment.symbols["w"] = randomTensor({3, 4}, 1);
  EXPECT_THAT(messageOf(program, {HostTensor{{1}, {0}}}, environment),
              HasSubstr("does not have the shape of"));
}

TEST(Refusals, IdOutOfRange) {
  Program program(embedText);
  Environment environment;
  environment.symbols["w"] = randomTensor({4, 3}, 1);
  EXPECT_THAT(messageOf(program, {HostTensor{{2}, {0, 4}}}, environment),
              HasSubstr("ids must be from 0 to 3"));
}

TEST(Refusals, ArgumentOfAnotherShape) {
  Program program("lora.program micro_batch @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> { "
                  "lora.return %x : tensor<?x3xf32> }");
  EXPECT_THAT(messageOf(program, {HostTensor::zeros({2, 4})}),
              HasSubstr("argument 0 does not have the shape of"));
  EXPECT_THAT(messageOf(program, {}), HasSubstr("takes 1 arguments, got 0"));
}

TEST(Refusals, SegmentsThatDoNotCutTheTokens) {
  Program program(R"(
    lora.program micro_batch @f(%q: tensor<?x1x2xf32>, %s: tensor<?xi32>) -> tensor<?x2xf32> {
      %o, %lse = lora.attention %q, %q, %q, %s scale 1.0
          : (tensor<?x1x2xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32>, tensor<?xi32>) -> (tensor<?x2xf32>, tensor<?x1xf32>)
      lora.return %o : tensor<?x2xf32>
    })");
  for (HostTensor starts : {HostTensor{{2}, {0, 2}}, HostTensor{{2}, {1, 3}},
                            HostTensor{{3}, {0, 4, 3}}, HostTensor{{0}, {}}})
    EXPECT_THAT(messageOf(program, {HostTensor::zeros({3, 1, 2}), starts}),
                HasSubstr("segments must ascend from 0 to 3"));
}

TEST(Refusals, OpWithoutMeaning) {
  Program program(R"(
    lora.program micro_batch @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %y = lora.map %x : (tensor<?x3xf32>) -> tensor<?x3xf32> {
      ^bb0(%a: f32):
        %r = math.cbrt %a : f32
        lora.yield %r : f32
      }
      lora.return %y : tensor<?x3xf32>
    })");
  EXPECT_THAT(messageOf(program, {HostTensor::zeros({2, 3})}),
              HasSubstr("has no reference meaning in a map"));
}
