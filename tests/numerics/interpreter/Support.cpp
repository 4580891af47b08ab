// Programs, tensors, the reverse pass, differences.

#include "tests/numerics/interpreter/Support.h"
#include "compiler/dialect/LoraOps.h"
#include "dsl/Functions.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

static DialectRegistry dialects() {
  DialectRegistry registry;
  registerLoraDialects(registry);
  return registry;
}

Program::Program(StringRef text) : context(dialects(), MLIRContext::Threading::DISABLED) {
  context.loadAllAvailableDialects();
  module = parseSourceString<ModuleOp>(text, &context);
  EXPECT_TRUE(module) << text.str();
}

static std::string write(const lorac::dsl::Expr &expr, const std::string &x, std::string &ops) {
  using lorac::dsl::ExprKind;
  auto line = [&](const std::string &op) {
    const std::string name = "%f" + std::to_string(llvm::count(ops, '\n'));
    ops += name + " = " + op + " : f32\n";
    return name;
  };
  auto both = [&](const char *op) {
    const std::string left = write(expr.args[0], x, ops), right = write(expr.args[1], x, ops);
    return line("arith." + std::string(op) + " " + left + ", " + right);
  };
  switch (expr.kind) {
  case ExprKind::Number:
    return line(llvm::formatv("arith.constant {0:e17}", expr.number));
  case ExprKind::Name:
    return x;
  case ExprKind::Call: {
    const lorac::dsl::Function &function = *lorac::dsl::findFunction(expr.name);
    const std::string argument = write(expr.args[0], x, ops);
    return function.value ? line("math." + expr.name + " " + argument)
                          : write(function.formula, argument, ops);
  }
  case ExprKind::Neg:
    return line("arith.negf " + write(expr.args[0], x, ops));
  case ExprKind::Add:
    return both("addf");
  case ExprKind::Sub:
    return both("subf");
  case ExprKind::Mul:
    return both("mulf");
  default:
    return both("divf");
  }
}

FunctionText lorac::test::functionText(const std::string &name, const std::string &x) {
  lorac::dsl::Expr call, argument;
  argument.kind = lorac::dsl::ExprKind::Name;
  call.kind = lorac::dsl::ExprKind::Call, call.name = name, call.args = {argument};
  FunctionText text;
  text.result = write(call, x, text.ops);
  return text;
}

HostTensor lorac::test::randomTensor(std::vector<int64_t> shape, unsigned seed, double scale) {
  HostTensor tensor = HostTensor::zeros(std::move(shape));
  std::mt19937_64 generator(seed);
  for (double &value : tensor.data)
    value = scale * (double(generator() >> 11) * 0x1p-52 - 1);
  return tensor;
}

Outcome lorac::test::run(ProgramOp function, ArrayRef<HostTensor> arguments,
                         const Environment &environment) {
  FailureOr<Outcome> outcome = interpret(function, arguments, environment);
  EXPECT_TRUE(succeeded(outcome));
  return succeeded(outcome) ? *outcome : Outcome{};
}

static bool isFloat(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32();
}

ProgramOp lorac::test::reverse(ProgramOp function) {
  OpBuilder b(function);
  b.setInsertionPointAfter(function);
  SmallVector<Type> inputs(function.getArgumentTypes()), outputs;
  llvm::append_range(inputs, function.getResultTypes());
  for (Value argument : function.getArguments())
    if (isFloat(argument))
      outputs.push_back(argument.getType());
  auto backward = ProgramOp::create(b, function.getLoc(), function.getRuns(),
                                    (function.getName() + "_backward").str(),
                                    b.getFunctionType(inputs, outputs));
  Block *block = backward.addEntryBlock();
  b.setInsertionPointToStart(block);
  IRMapping copy;
  copy.map(function.getArguments(), block->getArguments().take_front(function.getNumArguments()));
  SmallVector<Operation *> forward;
  for (Operation &op : function.front().without_terminator())
    forward.push_back(b.clone(op, copy));

  llvm::DenseMap<Value, Value> gradient;
  auto accumulate = [&](Value of, Value value) {
    Value &sum = gradient[of];
    sum = sum ? Value(arith::AddFOp::create(b, function.getLoc(), sum, value)) : value;
  };
  for (auto [result, seed] :
       llvm::zip(function.front().getTerminator()->getOperands(),
                 block->getArguments().drop_front(function.getNumArguments())))
    accumulate(copy.lookup(result), seed);
  for (Operation *op : llvm::reverse(forward)) {
    SmallVector<Value> incoming;
    for (Value result : op->getResults())
      incoming.push_back(gradient.lookup(result));
    if (llvm::none_of(incoming, [](Value v) { return bool(v); }))
      continue;
    if (auto use = dyn_cast<UseOp>(op)) {
      GradientOp::create(b, op->getLoc(), use.getSymbolAttr(), incoming.front());
      continue;
    }
    SmallVector<bool> wanted;
    for (Value operand : op->getOperands())
      wanted.push_back(isFloat(operand));
    SmallVector<Value> outgoing = cast<DifferentiableOp>(op).backward(b, incoming, wanted);
    EXPECT_EQ(outgoing.size(), op->getNumOperands());
    for (auto [operand, value] : llvm::zip(op->getOperands(), outgoing))
      if (value)
        accumulate(operand, value);
  }
  SmallVector<Value> results;
  for (Value argument : block->getArguments().take_front(function.getNumArguments()))
    if (isFloat(argument)) {
      EXPECT_TRUE(gradient.lookup(argument))
          << "every float argument of a test's function reaches its results";
      results.push_back(gradient.lookup(argument));
    }
  ReturnOp::create(b, function.getLoc(), results);
  EXPECT_TRUE(succeeded(verify(backward)));
  return backward;
}

void lorac::test::expectClose(const HostTensor &got, const HostTensor &wanted, double tolerance,
                              const std::string &what, double atLeast) {
  ASSERT_EQ(got.shape, wanted.shape) << what;
  double largest = atLeast, error = 0;
  int64_t worst = 0;
  for (int64_t e = 0; e < wanted.size(); ++e) {
    largest = std::max(largest, std::abs(wanted.data[e]));
    double difference = std::abs(got.data[e] - wanted.data[e]);
    if (!(difference <= error)) // also where it is no number
      error = difference, worst = e;
  }
  EXPECT_TRUE(error <= tolerance * largest)
      << what << ": element " << worst << " is " << (wanted.size() ? got.data[worst] : 0)
      << ", wanted " << (wanted.size() ? wanted.data[worst] : 0) << "; the largest is " << largest;
}

// Σ over all results of <gradient, result>
static double dot(const Outcome &outcome, ArrayRef<HostTensor> gradients) {
  double sum = 0;
  for (auto [result, gradient] : llvm::zip_equal(outcome.results, gradients))
    for (int64_t e = 0; e < result.size(); ++e)
      sum += result.data[e] * gradient.data[e];
  return sum;
}

void lorac::test::expectGradientsMatchDifferences(Program &program, StringRef name,
                                                  std::vector<HostTensor> arguments,
                                                  const Environment &given) {
  Environment environment = given;
  ProgramOp function = program.function(name);
  ProgramOp backward = reverse(function);
  std::vector<HostTensor> seeds;
  for (const HostTensor &result : run(function, arguments, environment).results)
    seeds.push_back(randomTensor(result.shape, 7700 + seeds.size()));

  auto differences = [&](HostTensor &input) {
    HostTensor slope = HostTensor::zeros(input.shape);
    constexpr double h = 1e-5;
    for (int64_t e = 0; e < input.size(); ++e) {
      double before = input.data[e];
      input.data[e] = before + h;
      double above = dot(run(function, arguments, environment), seeds);
      input.data[e] = before - h;
      double below = dot(run(function, arguments, environment), seeds);
      input.data[e] = before;
      slope.data[e] = (above - below) / (2 * h);
    }
    return slope;
  };

  std::vector<HostTensor> inputs = arguments;
  inputs.insert(inputs.end(), seeds.begin(), seeds.end());
  Outcome outcome = run(backward, inputs, environment);
  size_t next = 0;
  for (auto [i, value] : llvm::enumerate(function.getArguments()))
    if (isFloat(value)) {
      ASSERT_LT(next, outcome.results.size());
      expectClose(outcome.results[next++], differences(arguments[i]), 1e-6,
                  "argument " + std::to_string(i));
    }
  for (auto param : program.module->getOps<ParamOp>()) {
    std::string symbol = param.getSymName().str();
    ASSERT_TRUE(outcome.gradients.count(symbol)) << symbol;
    expectClose(outcome.gradients[symbol], differences(environment.symbols[symbol]), 1e-6, symbol);
  }
}
