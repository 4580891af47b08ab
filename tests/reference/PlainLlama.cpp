#include "tests/reference/PlainLlama.h"

#include "runtime/formats/Safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace lorac::test {

using namespace reference;

namespace {

constexpr int64_t layers = 2, heads = 4, kvHeads = 2, headDim = 16;
constexpr double eps = 1e-5;

HostTensor turned(const HostTensor &x, const HostTensor &positions, bool back) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < headDim / 2; ++i)
    frequencies.push_back(std::pow(1e4, -2.0 * double(i) / headDim));
  return rope(x, positions, frequencies, 1, back);
}

HostTensor hostTensor(const std::vector<int32_t> &values) {
  return {{int64_t(values.size())}, std::vector<double>(values.begin(), values.end())};
}

HostTensor viewed(HostTensor tensor, std::vector<int64_t> shape) {
  tensor.shape = std::move(shape);
  return tensor;
}
HostTensor flat(const HostTensor &tensor) {
  return viewed(tensor, {tensor.rows(), tensor.columns()});
}

/// One adapted linear: what its backward needs, kept.
struct Linear {
  const HostTensor &w;
  const Factors *factors; ///< null: none
  double scale;
  HostTensor x;

  HostTensor forward(const HostTensor &input) {
    x = input;
    HostTensor y = linear(x, w);
    return factors ? add(y, lowRank(x, factors->a, factors->b, scale)) : y;
  }
  HostTensor backward(const HostTensor &dy, Factors &gradient) const {
    HostTensor dx = linearBackward(dy, w);
    if (!factors)
      return dx;
    LowRankGradient of = lowRankBackward(x, factors->a, factors->b, dy, scale);
    gradient = {of.da, of.db};
    return add(dx, of.dx);
  }
};

/// What a block keeps for its backward.
struct Block {
  std::map<std::string, Linear> linears;
  HostTensor x, h, q, k, v, gate, up;
  AttentionResult attended;
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

} // namespace

PlainLlama::PlainLlama(const std::string &folder) {
  auto file = formats::Safetensors::open(folder + "/model.safetensors");
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return;
  }
  for (const formats::TensorInfo &info : file->tensors()) {
    const std::vector<float> values = *file->floats(info.name);
    weights[info.name] = {info.shape, std::vector<double>(values.begin(), values.end())};
  }
  if (!weights.count("lm_head.weight"))
    weights["lm_head.weight"] = weights.at("model.embed_tokens.weight");
}

std::pair<int64_t, int64_t> PlainLlama::shapeOf(const std::string &module) const {
  const HostTensor &w = weights.at(module + ".weight");
  return {w.rows(), w.columns()};
}

double PlainLlama::loss(const train::MicroBatch &batch,
                        const std::map<std::string, Factors> &adapters, double scale,
                        double lossScale, std::map<std::string, Factors> &gradients) const {
  const HostTensor positions = hostTensor(batch.positions),
                   segments = hostTensor(batch.segmentStarts), labels = hostTensor(batch.targets);
  const int64_t tokens = batch.tokens();
  const double attentionScale = 1 / std::sqrt(double(headDim));
  auto named = [](int64_t layer, const std::string &part) {
    return "model.layers." + std::to_string(layer) + "." + part;
  };

  std::vector<Block> blocks(layers);
  HostTensor x = embed(hostTensor(batch.ids), weights.at("model.embed_tokens.weight"));
  for (int64_t n = 0; n < layers; ++n) {
    Block &block = blocks[size_t(n)];
    auto apply = [&](const std::string &part, const HostTensor &input) {
      const auto found = adapters.find(named(n, part));
      const Factors *factors = found == adapters.end() ? nullptr : &found->second;
      return block.linears
          .emplace(part, Linear{weights.at(named(n, part) + ".weight"), factors, scale, {}})
          .first->second.forward(input);
    };
    auto norm = [&](const char *part, const HostTensor &input) {
      return rmsNorm(input, weights.at(named(n, part)), eps);
    };
    block.x = x;
    const HostTensor normed = norm("input_layernorm.weight", x);
    block.q = turned(viewed(apply("self_attn.q_proj", normed), {tokens, heads, headDim}), positions,
                     false);
    block.k = turned(viewed(apply("self_attn.k_proj", normed), {tokens, kvHeads, headDim}),
                     positions, false);
    block.v = viewed(apply("self_attn.v_proj", normed), {tokens, kvHeads, headDim});
    block.attended = attention(block.q, block.k, block.v, segments, {attentionScale});
    block.h = add(x, apply("self_attn.o_proj", flat(block.attended.o)));
    const HostTensor again = norm("post_attention_layernorm.weight", block.h);
    block.gate = apply("mlp.gate_proj", again);
    block.up = apply("mlp.up_proj", again);
    HostTensor act = block.gate;
    for (size_t i = 0; i < act.data.size(); ++i)
      act.data[i] *= sigmoid(block.gate.data[i]) * block.up.data[i];
    x = add(block.h, apply("mlp.down_proj", act));
  }
  const HostTensor &head = weights.at("lm_head.weight"), &last = weights.at("model.norm.weight");
  const LossGradient end = crossEntropyBackward(rmsNorm(x, last, eps), head, labels, lossScale);

  HostTensor dx = rmsNormBackward(x, last, end.dh, eps);
  for (int64_t n = layers - 1; n >= 0; --n) {
    Block &block = blocks[size_t(n)];
    auto back = [&](const std::string &part, const HostTensor &dy) {
      Factors of;
      HostTensor d = block.linears.at(part).backward(dy, of);
      if (!of.a.data.empty())
        gradients[named(n, part)] = of;
      return d;
    };
    auto normBack = [&](const char *part, const HostTensor &input, const HostTensor &dy) {
      return rmsNormBackward(input, weights.at(named(n, part)), dy, eps);
    };
    const HostTensor dact = back("mlp.down_proj", dx);
    HostTensor dgate = dact, dup = dact;
    for (size_t i = 0; i < dact.data.size(); ++i) {
      const double g = block.gate.data[i], s = sigmoid(g);
      dgate.data[i] *= block.up.data[i] * s * (1 + g * (1 - s));
      dup.data[i] *= g * s;
    }
    const HostTensor dagain = add(back("mlp.gate_proj", dgate), back("mlp.up_proj", dup));
    const HostTensor dh = add(dx, normBack("post_attention_layernorm.weight", block.h, dagain));
    const AttentionGradient attended =
        attentionBackward(block.q, block.k, block.v, segments, block.attended.o, block.attended.lse,
                          back("self_attn.o_proj", dh), {attentionScale});
    const HostTensor dnormed =
        add(add(back("self_attn.q_proj", flat(turned(attended.dq, positions, true))),
                back("self_attn.k_proj", flat(turned(attended.dk, positions, true)))),
            back("self_attn.v_proj", flat(attended.dv)));
    dx = add(dh, normBack("input_layernorm.weight", block.x, dnormed));
  }
  return std::accumulate(end.rowLoss.data.begin(), end.rowLoss.data.end(), 0.0);
}

} // namespace lorac::test
