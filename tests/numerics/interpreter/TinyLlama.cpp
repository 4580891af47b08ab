// Text of two layers, written as a person would; safetensors into host tensors.

#include "tests/numerics/interpreter/TinyLlama.h"
#include "runtime/formats/Safetensors.h"
#include <gtest/gtest.h>

using namespace lorac::reference;
using namespace lorac::test;

namespace {

struct Linear {
  const char *module;
  int out, in;
};
constexpr Linear linears[] = {{"self_attn.q_proj", 64, 64}, {"self_attn.k_proj", 32, 64},
                              {"self_attn.v_proj", 32, 64}, {"self_attn.o_proj", 64, 64},
                              {"mlp.gate_proj", 176, 64},   {"mlp.up_proj", 176, 64},
                              {"mlp.down_proj", 64, 176}};

std::string matrix(int out, int in) {
  return "!lora.weight<" + std::to_string(out) + "x" + std::to_string(in) + ", f32>";
}
const std::string vector = "!lora.weight<64, vector>";
std::string rows(int n) { return "tensor<?x" + std::to_string(n) + "xf32>"; }

std::string layerName(int layer) { return "model.layers." + std::to_string(layer) + "."; }

// %<result> = linear of %<x> with the weight of `module`
std::string linear(int layer, const std::string &module, const std::string &x,
                   const std::string &result) {
  for (const Linear &l : linears)
    if (module == l.module) {
      std::string type = matrix(l.out, l.in);
      return "%w_" + result + " = lora.use @" + layerName(layer) + module + ".weight : " + type +
             "\n%" + result + " = lora.linear %" + x + ", %w_" + result + " : (" + rows(l.in) +
             ", " + type + ") -> " + rows(l.out) + "\n";
    }
  ADD_FAILURE() << module;
  return "";
}

std::string norm(const std::string &weight, const std::string &x, const std::string &result) {
  return "%w_" + result + " = lora.use @" + weight + " : " + vector + "\n%" + result +
         " = lora.rms_norm %" + x + ", %w_" + result + " eps 1.0e-05 : (" + rows(64) + ", " +
         vector + ") -> " + rows(64) + "\n";
}

std::string sum(const std::string &a, const std::string &b, const std::string &result) {
  return "%" + result + " = lora.map %" + a + ", %" + b + " : (" + rows(64) + ", " + rows(64) +
         ") -> " + rows(64) +
         " {\n^bb0(%a: f32, %b: f32):\n  %s = arith.addf %a, %b : f32\n  lora.yield %s : f32\n}\n";
}

// Reads %x<layer>, leaves %x<layer + 1>.
std::string block(int layer) {
  std::string n = std::to_string(layer), in = "x" + n;
  auto value = [&](const char *name) { return name + n; };
  auto heads = [&](const char *from, const char *to, int count, bool rotated) {
    std::string flat = rows(count * 16), type = "tensor<?x" + std::to_string(count) + "x16xf32>";
    std::string view = "%" + value(to) + (rotated ? "_flat" : "") + " = lora.view %" + value(from) +
                       " : " + flat + " to " + type + "\n";
    if (rotated)
      view += "%" + value(to) + " = lora.rope %" + value(to) + "_flat, %positions by @rope : (" +
              type + ", tensor<?xi32>) -> " + type + "\n";
    return view;
  };
  return norm(layerName(layer) + "input_layernorm.weight", in, value("n")) +
         linear(layer, "self_attn.q_proj", value("n"), value("q")) +
         linear(layer, "self_attn.k_proj", value("n"), value("k")) +
         linear(layer, "self_attn.v_proj", value("n"), value("v")) + heads("q", "qr", 4, true) +
         heads("k", "kr", 2, true) + heads("v", "vh", 2, false) + "%" + value("o") + ", %" +
         value("lse") + " = lora.attention %" + value("qr") + ", %" + value("kr") + ", %" +
         value("vh") +
         ", %segments scale 0.25 : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, "
         "tensor<?xi32>) -> (tensor<?x64xf32>, "
         "tensor<?x4xf32>)\n" +
         linear(layer, "self_attn.o_proj", value("o"), value("p")) +
         sum(in, value("p"), value("h")) +
         norm(layerName(layer) + "post_attention_layernorm.weight", value("h"), value("m")) +
         linear(layer, "mlp.gate_proj", value("m"), value("g")) +
         linear(layer, "mlp.up_proj", value("m"), value("u")) + "%" + value("act") +
         " = lora.map %" + value("g") + ", %" + value("u") + " : (" + rows(176) + ", " + rows(176) +
         ") -> " + rows(176) + R"( {
    ^bb0(%a: f32, %b: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %below = arith.addf %one, %exp : f32
      %silu = arith.divf %a, %below : f32
      %both = arith.mulf %silu, %b : f32
      lora.yield %both : f32
    }
)" + linear(layer, "mlp.down_proj", value("act"), value("d")) +
         sum(value("h"), value("d"), "x" + std::to_string(layer + 1));
}

std::string declarations(bool tied) {
  std::string text = "lora.frozen @model.embed_tokens.weight : " + matrix(512, 64) + "\n";
  for (int layer = 0; layer < 2; ++layer) {
    for (const char *name : {"input_layernorm", "post_attention_layernorm"})
      text += "lora.frozen @" + layerName(layer) + name + ".weight : " + vector + " layer " +
              std::to_string(layer) + "\n";
    for (const Linear &l : linears)
      text += "lora.frozen @" + layerName(layer) + l.module + ".weight : " + matrix(l.out, l.in) +
              " layer " + std::to_string(layer) + "\n";
  }
  text += "lora.frozen @model.norm.weight : " + vector + "\n";
  if (!tied)
    text += "lora.frozen @lm_head.weight : " + matrix(512, 64) + "\n";
  return text;
}

std::string adapters(double scale, double dropout, const std::string &method) {
  std::string text;
  for (int layer = 0; layer < 2; ++layer)
    for (const Linear &l : linears)
      text += "lora.adapter @" + layerName(layer) + l.module + " of @" + layerName(layer) +
              l.module + ".weight rank 4 scale " + std::to_string(scale) + " dropout " +
              std::to_string(dropout) + " method \"" + method + "\"\n";
  return text;
}

} // namespace

std::string lorac::test::tinyLlama(bool tied, double adapterScale, double dropout,
                                   const std::string &method) {
  std::string head = tied ? "@model.embed_tokens.weight" : "@lm_head.weight";
  return "module {\n  lora.limits tokens 48 length 24\n  lora.frequencies @rope [1.0, "
         "3.16227766e-1, 1.0e-1, 3.16227766e-2, 1.0e-2, 3.16227766e-3, 1.0e-3, 3.16227766e-4] "
         "factor 1.0\n" +
         declarations(tied) + (adapterScale != 0 ? adapters(adapterScale, dropout, method) : "") +
         R"(
  lora.program inference @hidden(%ids: tensor<?xi32> loc("ids"), %positions: tensor<?xi32> loc("positions"), %segments: tensor<?xi32> loc("segments")) -> tensor<?x64xf32> {
    %e = lora.use @model.embed_tokens.weight : !lora.weight<512x64, f32>
    %x0 = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<512x64, f32>) -> tensor<?x64xf32>
)" + block(0) +
         block(1) + norm("model.norm.weight", "x2", "y") + R"(
    lora.return %y : tensor<?x64xf32>
  }
  lora.program inference @head(%h: tensor<?x64xf32> loc("h")) -> tensor<?x512xf32> {
    %w = lora.use )" +
         head + R"( : !lora.weight<512x64, f32>
    %y = lora.linear %h, %w : (tensor<?x64xf32>, !lora.weight<512x64, f32>) -> tensor<?x512xf32>
    lora.return %y : tensor<?x512xf32>
  }
  lora.program inference @loss(%h: tensor<?x64xf32> loc("h"), %labels: tensor<?xi32> loc("labels")) -> tensor<?xf32> {
    %w = lora.use )" +
         head + R"( : !lora.weight<512x64, f32>
    %l = lora.cross_entropy %h, %w, %labels : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> tensor<?xf32>
    lora.return %l : tensor<?xf32>
  }
})";
}

std::map<std::string, HostTensor> lorac::test::golden(const std::string &path) {
  std::map<std::string, HostTensor> tensors;
  Result<formats::Safetensors> file =
      formats::Safetensors::open(LORAC_SOURCE_DIR "/tests/golden/" + path);
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return tensors;
  }
  auto keep = [&](const formats::TensorInfo &info, const auto &values) {
    if (!values) {
      ADD_FAILURE() << values.error().message;
      return;
    }
    tensors[info.name] = {info.shape, std::vector<double>(values->begin(), values->end())};
  };
  for (const formats::TensorInfo &info : file->tensors()) {
    if (info.dtype == formats::DType::F32)
      keep(info, file->floats(info.name));
    else
      keep(info, file->integers(info.name));
  }
  return tensors;
}

Batch lorac::test::batchOf(const HostTensor &ids, const HostTensor &labels,
                           const HostTensor *mask) {
  Batch batch;
  batch.segments.data.push_back(0);
  for (int64_t sample = 0; sample < ids.rows(); ++sample) {
    int64_t length = 0;
    while (length < ids.columns() && (!mask || mask->at(sample, length) != 0))
      ++length;
    for (int64_t i = 0; i < length; ++i) {
      batch.ids.data.push_back(ids.at(sample, i));
      batch.positions.data.push_back(i);
      batch.labels.data.push_back(i + 1 < length ? labels.at(sample, i + 1) : -100);
      batch.labelCount += batch.labels.data.back() != -100;
    }
    batch.segments.data.push_back(batch.ids.size());
  }
  for (HostTensor *tensor : {&batch.ids, &batch.positions, &batch.segments, &batch.labels})
    tensor->shape = {tensor->size()};
  return batch;
}
