// The tiny Llama, tied and untied, against PEFT and bitsandbytes (tests/golden/README.md): logits,
// loss, every adapter gradient, 20 AdamW steps and the final adapter, through compiled kernels.

#include "tests/reference/CompiledSpec.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>

namespace lorac::test {
namespace {

struct Variant {
  const char *model, *kind; // kind: lora, rslora, loraplus, dora, qlora
};

std::string nameOf(const testing::TestParamInfo<Variant> &info) {
  return std::string(info.param.model) + "_" + info.param.kind;
}

class TinyGolden : public testing::TestWithParam<Variant> {
protected:
  std::string kind() const { return GetParam().kind; }
  std::filesystem::path folder() const {
    return golden(kind() == "qlora" ? std::string("qlora/") + GetParam().model
                                    : std::string("tiny/") + GetParam().model);
  }
  std::filesystem::path file(const std::string &what) const {
    return folder() / (kind() == "qlora" ? what : kind() + "_" + what);
  }
  std::filesystem::path adapter(const char *when) const {
    return folder() / (kind() == "qlora" ? std::string("adapter_") + when : kind() + "_" + when);
  }

  std::string spec() const {
    std::string toml = fmt::format("[model]\nsource = \"{}\"\n",
                                   golden(std::string("tiny/") + GetParam().model).string());
    if (kind() == "qlora")
      toml += "[quantization]\nformat = \"nf4\"\nblock_size = 64\ndouble_quant = true\n";
    toml += fmt::format("[adapter]\nr = 4\nlora_alpha = 8\nuse_rslora = {}\nuse_dora = {}\n"
                        "target_modules = \"all-linear\"\ninit_from = \"{}\"\n",
                        kind() == "rslora", kind() == "dora", adapter("init").string());
    if (kind() == "loraplus")
      toml += "[adapter.loraplus]\nloraplus_lr_ratio = 16\n";
    toml +=
        fmt::format("[optimizer]\nlearning_rate = {}\nweight_decay = 0.01\nmax_grad_norm = 0.0\n",
                    kind() == "loraplus" ? 0.00125 : 0.005);
    toml += "[schedule]\nname = \"constant\"\nwarmup_steps = 0\n";
    toml += fmt::format("[[data]]\npath = \"{}\"\nformat = \"tokens\"\n",
                        golden("tiny/train_data.safetensors").string());
    return toml + "[train]\nsteps = 20\nbatch_size = 2\nmax_length = 24\neval_steps = "
                  "0\nsave_steps = 0\n[target]\ndevice = \"cpu\"\n";
  }
};

TEST_P(TinyGolden, LogitsAndGradients) {
  CompiledSpec compiled(fmt::format("golden_{}_{}", GetParam().model, kind()), spec());
  ASSERT_TRUE(compiled.session());
  compiled.loadAdapter(adapter("init"));
  auto reference = formats::Safetensors::open(file("train.safetensors"));
  ASSERT_TRUE(reference) << reference.error().message;

  train::MicroBatch batch = compiled.batch(0);
  EXPECT_LT(errorOf(compiled.logits(batch), *reference->floats("logits_step0")), 1e-4);

  std::map<std::string, std::vector<float>> gradients;
  double loss = compiled.lossAndGradients(batch, gradients);
  EXPECT_LT(std::abs(loss / (*reference->floats("losses"))[0] - 1), 1e-5);
  EXPECT_EQ(gradients.size(), kind() == "dora" ? 42u : 28u);
  for (auto &[name, gradient] : gradients) {
    auto expected = reference->floats("grad." + name);
    ASSERT_TRUE(expected) << expected.error().message;
    EXPECT_LT(errorOf(gradient, *expected), 1e-4) << name;
  }
}

TEST_P(TinyGolden, TwentySteps) {
  CompiledSpec compiled(fmt::format("steps_{}_{}", GetParam().model, kind()), spec());
  ASSERT_TRUE(compiled.session());
  auto lines = compiled.train();
  auto reference = formats::Safetensors::open(file("train.safetensors"));
  ASSERT_TRUE(reference) << reference.error().message;
  std::vector<float> losses = *reference->floats("losses");
  size_t step = 0;
  for (auto &line : lines)
    if (line.count("loss")) {
      ASSERT_LT(step, losses.size());
      EXPECT_LT(std::abs(line["loss"] / losses[step] - 1), 1e-5)
          << "step " << step << ": " << line["loss"];
      ++step;
    }
  EXPECT_EQ(step, 20u);

  auto ours = formats::Safetensors::open(compiled.folder() / "out/adapter_model.safetensors");
  auto expected = formats::Safetensors::open(adapter("final") / "adapter_model.safetensors");
  ASSERT_TRUE(ours) << ours.error().message;
  ASSERT_TRUE(expected) << expected.error().message;
  EXPECT_EQ(ours->tensors().size(), expected->tensors().size());
  for (const formats::TensorInfo &tensor : expected->tensors()) {
    auto mine = ours->floats(tensor.name);
    ASSERT_TRUE(mine) << mine.error().message;
    EXPECT_LT(errorOf(*mine, *expected->floats(tensor.name)), 2e-2) << tensor.name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyGolden,
                         testing::Values(Variant{"tied", "lora"}, Variant{"tied", "rslora"},
                                         Variant{"tied", "loraplus"}, Variant{"tied", "dora"},
                                         Variant{"tied", "qlora"}, Variant{"untied", "lora"},
                                         Variant{"untied", "rslora"}, Variant{"untied", "loraplus"},
                                         Variant{"untied", "dora"}, Variant{"untied", "qlora"}),
                         nameOf);

} // namespace
} // namespace lorac::test
