#pragma once
// Programs of one op, at sizes that fill no panel and no tile.

#include "tests/numerics/program/PlannedProgram.h"

#include <cmath>
#include <gtest/gtest.h>

namespace lorac::test {

/// A program of the target that the test is linked with.
std::unique_ptr<PlannedProgram>
makeProgram(const std::string &text, std::map<std::string, reference::HostTensor> given = {});
/// Why no program of the target can run here; "" where it can.
std::string whatIsMissing();
/// How much wider than 1e-5 that target's results may lie (docs/cuda.md, "Numbers").
double looserThanFloat32();
/// And a whole step's, whose every activation is rounded.
double roundingsOfAStep();

inline std::string rows(int n) { return "tensor<?x" + std::to_string(n) + "xf32>"; }

/// Declares @rope: the frequencies of heads of `d` columns.
inline std::string ropeOf(int d, double theta = 1e4) {
  std::string text;
  for (int i = 0; i < d / 2; ++i)
    text += (i ? ", " : "") + std::to_string(std::pow(theta, -2.0 * i / d));
  return "lora.frequencies @rope [" + text + "] factor 1.0\n";
}

struct Activation {
  std::string name;
  int columns;
};

// A function of one op: each activation is drawn by an embedding of its own; `result` is what the
// kernels leave in `hidden`.
inline std::string oneOp(const std::vector<Activation> &activations,
                         const std::string &declarations, const std::string &body,
                         const std::string &result, const std::string &type, int tokens = 24,
                         int length = 12) {
  std::string text = "module {\nlora.limits tokens " + std::to_string(tokens) + " length " +
                     std::to_string(length) + "\n" + declarations;
  std::string loads;
  for (const Activation &a : activations) {
    std::string weight = "!lora.weight<24x" + std::to_string(a.columns) + ", f32>";
    text += "lora.frozen @of_" + a.name + " : " + weight + "\n";
    loads += "%w_" + a.name + " = lora.use @of_" + a.name + " : " + weight + "\n%" + a.name +
             " = lora.embed %ids, %w_" + a.name + " : (tensor<?xi32>, " + weight + ") -> " +
             rows(a.columns) + "\n";
  }
  return text +
         "lora.program micro_batch @f(%ids: tensor<?xi32> loc(\"ids\"), %positions: tensor<?xi32> "
         "loc(\"positions\"), %segments: tensor<?xi32> "
         "loc(\"segments\"), %labels: tensor<?xi32> loc(\"labels\")) -> " +
         type + " {\n" + loads + body + "\nlora.return " + result + " : " + type + "\n}\n}\n";
}

inline Inputs batch(std::vector<double> starts) {
  auto ints = [](std::vector<double> values) {
    return reference::HostTensor{{int64_t(values.size())}, values};
  };
  int64_t tokens = starts.back();
  std::vector<double> ids, positions, labels;
  size_t segment = 0;
  for (int64_t m = 0; m < tokens; ++m) {
    segment += m == starts[segment + 1];
    ids.push_back((m * 7 + 3) % 24);
    positions.push_back(m - starts[segment]);
    labels.push_back(m % 5 == 4 ? -100 : (m * 11) % 37);
  }
  return Inputs{{"ids", ints(ids)},
                {"positions", ints(positions)},
                {"segments", ints(starts)},
                {"labels", ints(labels)}};
}

// Micro-batches of 24 (full), 13 and 1 tokens.
inline std::vector<Inputs> batches() {
  return {batch({0, 12, 15, 24}), batch({0, 1, 4, 13}), batch({0, 1})};
}

inline void expectMatch(const std::string &text, double tolerance = 1e-5) {
  if (std::string why = whatIsMissing(); !why.empty())
    GTEST_SKIP() << why;
  std::unique_ptr<PlannedProgram> program = makeProgram(text);
  for (const Inputs &inputs : batches()) {
    SCOPED_TRACE(std::to_string(inputs.at("ids").size()) + " tokens");
    reference::Environment environment;
    environment.lossScale = 0.25;
    environment.dropout = {3, 5, 7};
    program->expectMatch("f", inputs, environment, tolerance * looserThanFloat32());
  }
}

// A copy into the place of results, for ops whose own result is not what the function returns.
inline std::string twice(const std::string &value, int n) {
  return "%out = lora.map " + value + " : (" + rows(n) + ") -> " + rows(n) +
         " {\n^bb0(%e: f32):\n%c2 = arith.constant 2.0 : f32\n%p2 = arith.mulf %e, %c2 : "
         "f32\nlora.yield %p2 : f32\n}";
}

} // namespace lorac::test
