// One model of tests/golden/arch against transformers and PEFT (its README.md): logits and losses
// of the bare model, then the first step's gradients, ten steps' losses and the last adapter of a
// LoRA. From each file that says the model: config.json, config_v4.json, model.gguf. On the CPU,
// and on the CUDA target in the PTX simulator.
//
//   arch-golden FOLDER cpu|cuda [gtest flags]

#include "compiler/codegen/cuda/Nvrtc.h"
#include "tests/reference/CompiledSpec.h"
#include "tests/unit/train/Simulator.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <iostream>
#include <unistd.h>

namespace lorac::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

fs::path folder;
bool onCuda = false;

/// How far another correct arithmetic lies: float32 in another order, and 16-bit activations.
struct Tolerances {
  double logits, loss, gradients, losses, adapter;
};
Tolerances tolerances() {
  return onCuda ? Tolerances{2.5e-2, 2e-3, 6e-2, 2e-3, INFINITY}
                : Tolerances{1e-5, 1e-5, 1e-5, 1e-5, 2e-2};
}

formats::Safetensors tensors(const fs::path &path) {
  auto file = formats::Safetensors::open(path);
  if (!file)
    throw std::runtime_error(file.error().message);
  return std::move(*file);
}

/// config_v4.json beside the same weights, in a folder that goes at the end.
class OldSpelling {
public:
  OldSpelling() {
    fs::remove_all(root);
    fs::create_directories(made);
    fs::copy_file(folder / "config_v4.json", made / "config.json");
    fs::create_symlink(fs::canonical(folder / "model.safetensors"), made / "model.safetensors");
  }
  ~OldSpelling() { fs::remove_all(root); }
  const fs::path &path() const { return made; }

private:
  const fs::path root = fs::temp_directory_path() / fmt::format("lorac-arch-{}", getpid());
  const fs::path made = root / folder.filename();
};

struct Lora {
  Json said = Json::parse(std::ifstream(folder / "lora_train.json"));
  fs::path init() const { return folder / said.value("adapter_init", "lora_init"); }
};

std::string spec(const fs::path &source, const Lora &lora) {
  const Json &said = lora.said;
  return fmt::format(
      "[model]\nsource = \"{}\"\n[quantization]\nformat = \"none\"\ncompute_dtype = "
      "\"{}\"\n[adapter]\nr = "
      "{}\nlora_alpha = {}\ntarget_modules = {}\ninit_from = \"{}\"\n[optimizer]\nlearning_rate = "
      "{}\nbetas = {}\neps = {}\nweight_decay = {}\nmax_grad_norm = 0.0\n[schedule]\nname = "
      "\"constant\"\nwarmup_steps = 0\n[[data]]\npath = \"{}\"\nformat = "
      "\"tokens\"\n[train]\nsteps "
      "= 10\nbatch_size = 2\nmax_length = 96\neval_steps = 0\nsave_steps = 0\n[target]\ndevice = "
      "\"{}\"\n",
      source.string(), onCuda ? "bf16" : "auto", said.at("r").dump(), said.at("alpha").dump(),
      said.at("targets").dump(), lora.init().string(), said.at("lr").dump(),
      said.at("betas").dump(), said.at("eps").dump(), said.at("weight_decay").dump(),
      (folder / "../train_data.safetensors").string(), onCuda ? "cuda" : "cpu");
}

/// Rows of ids and of labels that are not shifted yet.
train::MicroBatch batchOf(const std::vector<int64_t> &ids, const std::vector<int64_t> &labels,
                          size_t length) {
  train::MicroBatch batch;
  batch.segmentStarts = {0};
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t position = i % length;
    const bool isLast = position + 1 == length;
    batch.ids.push_back(int32_t(ids[i]));
    batch.positions.push_back(int32_t(position));
    batch.targets.push_back(isLast ? -100 : int32_t(labels[i + 1]));
    batch.labels += batch.targets.back() != -100;
    if (isLast)
      batch.segmentStarts.push_back(int32_t(i + 1));
  }
  return batch;
}

double nllOf(const float *row, size_t vocab, int64_t next) {
  const double top = *std::max_element(row, row + vocab);
  double total = 0;
  for (size_t v = 0; v < vocab; ++v)
    total += std::exp(double(row[v]) - top);
  return top + std::log(total) - row[next];
}

/// The bare model on the tensors whose names begin with `prefix`.
void expectForward(CompiledSpec &compiled, const formats::Safetensors &golden,
                   const std::string &prefix) {
  const std::vector<int64_t> ids = *golden.integers(prefix + "input_ids"),
                             labels = *golden.integers(prefix + "labels"),
                             positions = *golden.integers(prefix + "positions");
  const size_t length = size_t(golden.find(prefix + "input_ids")->shape.back()),
               vocab = size_t(compiled.session()->plan.vocab);
  const train::MicroBatch batch = batchOf(ids, labels, length);
  const std::vector<float> all = compiled.logits(batch), nll = *golden.floats(prefix + "nll");
  ASSERT_EQ(all.size(), ids.size() * vocab);
  std::vector<float> at, ours;
  for (size_t row = 0; row < ids.size() / length; ++row) {
    for (int64_t position : positions) {
      const float *logits = all.data() + (row * length + size_t(position)) * vocab;
      at.insert(at.end(), logits, logits + vocab);
    }
    for (size_t i = 0; i + 1 < length; ++i)
      ours.push_back(
          float(nllOf(all.data() + (row * length + i) * vocab, vocab, ids[row * length + i + 1])));
  }
  const double logits = errorOf(at, *golden.floats(prefix + "logits"));
  EXPECT_LT(logits, tolerances().logits) << prefix;
  EXPECT_LT(errorOf(ours, nll), tolerances().logits) << prefix;
  std::map<std::string, std::vector<float>> ignored;
  const double loss = compiled.lossAndGradients(batch, ignored),
               expected = (*golden.floats(prefix + "loss"))[0];
  EXPECT_LT(std::abs(loss / expected - 1), tolerances().loss) << prefix;
  std::cout << fmt::format("  {}logits {:.1e}, loss {:.1e}\n", prefix, logits,
                           std::abs(loss / expected - 1));
}

/// Gradients of the first step, where the folder has them (a variant has losses alone).
void expectGradients(CompiledSpec &compiled, const Lora &lora) {
  if (!fs::exists(folder / "lora_train.safetensors"))
    return;
  compiled.loadAdapter(lora.init());
  const formats::Safetensors golden = tensors(folder / "lora_train.safetensors");
  std::map<std::string, std::vector<float>> gradients;
  compiled.lossAndGradients(compiled.batch(0), gradients);
  double worst = 0;
  size_t seen = 0;
  for (const auto &[name, gradient] : gradients) {
    const std::vector<float> expected = *golden.floats("grad." + name);
    const double error = errorOf(gradient, expected);
    EXPECT_LT(error, tolerances().gradients) << name;
    worst = std::max(worst, error), ++seen;
  }
  for (const formats::TensorInfo &tensor : golden.tensors())
    seen -= tensor.name.starts_with("grad.");
  EXPECT_EQ(seen, 0u) << "a gradient is missing, or there is one too many";
  std::cout << fmt::format("  gradients {:.1e}\n", worst);
}

void expectTraining(CompiledSpec &compiled, const Lora &lora) {
  const std::vector<double> losses = lora.said.at("losses");
  size_t step = 0;
  double worst = 0;
  for (auto &line : compiled.train())
    if (line.count("loss") && step < losses.size()) {
      const double error = std::abs(line["loss"] / losses[step] - 1);
      EXPECT_LT(error, tolerances().losses) << "step " << step;
      worst = std::max(worst, error), ++step;
    }
  EXPECT_EQ(step, losses.size());
  std::cout << fmt::format("  losses {:.1e}\n", worst);
  if (onCuda || !fs::exists(folder / "lora_final"))
    return;
  const formats::Safetensors ours = tensors(compiled.folder() / "out/adapter_model.safetensors"),
                             golden = tensors(folder / "lora_final/adapter_model.safetensors");
  EXPECT_EQ(ours.tensors().size(), golden.tensors().size());
  for (const formats::TensorInfo &tensor : golden.tensors()) {
    auto mine = ours.floats(tensor.name);
    ASSERT_TRUE(mine) << mine.error().message;
    EXPECT_LT(errorOf(*mine, *golden.floats(tensor.name)), tolerances().adapter) << tensor.name;
  }
}

void expectAll(const fs::path &source) {
  if (onCuda) {
    if (train::simulatorLibrary().empty())
      GTEST_SKIP() << "this build has no PTX simulator";
    if (auto nvrtc = cuda::Nvrtc::open(); !nvrtc)
      GTEST_SKIP() << llvm::toString(nvrtc.takeError());
  }
  train::Simulator simulator;
  const Lora lora;
  CompiledSpec compiled("arch_" + folder.filename().string(), spec(source, lora));
  ASSERT_TRUE(compiled.session());
  const formats::Safetensors golden = tensors(folder / "forward.safetensors");
  expectForward(compiled, golden, "");
  expectForward(compiled, golden, "long.");
  expectGradients(compiled, lora);
  expectTraining(compiled, lora);
}

TEST(Arch, HuggingFace) { expectAll(folder); }

TEST(Arch, HuggingFaceInItsOldSpelling) {
  if (!fs::exists(folder / "config_v4.json"))
    GTEST_SKIP() << "this model has one spelling";
  expectAll(OldSpelling().path());
}

TEST(Arch, Gguf) {
  if (!fs::exists(folder / "model.gguf"))
    GTEST_SKIP() << "this model has no GGUF";
  expectAll(folder / "model.gguf");
}

} // namespace
} // namespace lorac::test

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 3) {
    std::cerr << "usage: arch-golden FOLDER cpu|cuda\n";
    return 2;
  }
  lorac::test::folder = argv[1];
  lorac::test::onCuda = argv[2] == std::string("cuda");
  return RUN_ALL_TESTS();
}
