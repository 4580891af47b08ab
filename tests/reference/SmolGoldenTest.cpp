// SmolLM2-135M against transformers, PEFT and bitsandbytes: logits of prompts, and the first ten
// losses of LoRA and QLoRA. The model is not in the repository (`make demo` obtains it): these
// tests are skipped where it is absent.

#include "tests/reference/CompiledSpec.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace lorac::test {
namespace {

std::string smolSpec(bool nf4) {
  std::string toml = fmt::format("[model]\nsource = \"{}\"\n[quantization]\nformat = \"{}\"\n",
                                 smolModel(), nf4 ? "nf4" : "keep");
  toml += fmt::format("[adapter]\nr = 8\nlora_alpha = 16\ntarget_modules = [\"q_proj\", "
                      "\"v_proj\"]\ninit_from = \"{}\"\n",
                      golden("smollm2/adapter_init").string());
  toml += "[optimizer]\nlearning_rate = 2e-4\nweight_decay = 0.01\nmax_grad_norm = 0.0\n";
  toml += "[schedule]\nname = \"constant\"\nwarmup_steps = 0\n";
  toml += fmt::format(
      "[[data]]\npath = \"{}\"\nformat = \"tokens\"\n",
      (std::filesystem::temp_directory_path() / "lorac-smol-data.safetensors").string());
  return toml + "[train]\nsteps = 10\nbatch_size = 2\nmax_length = 128\neval_steps = 0\nsave_steps "
                "= 0\n[target]\ndevice = \"cpu\"\n";
}

// The golden file has input_ids alone: labels are the ids.
void writeData() {
  auto source = formats::Safetensors::open(golden("smollm2/data.safetensors"));
  ASSERT_TRUE(source) << source.error().message;
  std::vector<int64_t> wide = *source->integers("input_ids");
  std::vector<int32_t> ids(wide.begin(), wide.end());
  std::vector<int64_t> shape = source->find("input_ids")->shape;
  const formats::TensorToWrite tensors[] = {{"input_ids", formats::DType::I32, shape, ids.data()},
                                            {"labels", formats::DType::I32, shape, ids.data()}};
  auto written = formats::writeSafetensors(
      std::filesystem::temp_directory_path() / "lorac-smol-data.safetensors", tensors);
  ASSERT_TRUE(written) << written.error().message;
}

nlohmann::json reference() {
  return nlohmann::json::parse(std::ifstream(golden("smollm2/reference.json")));
}

train::MicroBatch promptBatch(const nlohmann::json &prompt) {
  train::MicroBatch batch;
  batch.ids = prompt.at("ids").get<std::vector<int32_t>>();
  for (size_t i = 0; i < batch.ids.size(); ++i) {
    batch.positions.push_back(int32_t(i));
    batch.targets.push_back(i + 1 < batch.ids.size() ? batch.ids[i + 1] : -100);
  }
  batch.segmentStarts = {0, int32_t(batch.ids.size())};
  batch.labels = int64_t(batch.ids.size()) - 1;
  return batch;
}

class SmolGolden : public testing::TestWithParam<bool> {
protected:
  void SetUp() override {
    if (smolModel().empty())
      GTEST_SKIP() << "models/SmolLM2-135M-Instruct.Q4_1.gguf is absent (make demo obtains it)";
    writeData();
  }
};

TEST_P(SmolGolden, Prompts) {
  CompiledSpec compiled(GetParam() ? "smol_prompts_nf4" : "smol_prompts", smolSpec(GetParam()));
  ASSERT_TRUE(compiled.session());
  nlohmann::json all = reference();
  for (size_t p = 0; p < all.at("prompts").size(); ++p) {
    const nlohmann::json &prompt = all["prompts"][p];
    train::MicroBatch batch = promptBatch(prompt);
    std::vector<float> logits = compiled.logits(batch);
    const size_t vocab = size_t(compiled.session()->plan.vocab);
    double sum = 0;
    for (size_t i = 0; i + 1 < batch.ids.size(); ++i) {
      const float *row = logits.data() + i * vocab;
      double top = *std::max_element(row, row + vocab), total = 0;
      for (size_t v = 0; v < vocab; ++v)
        total += std::exp(double(row[v]) - top);
      double nll = top + std::log(total) - row[batch.ids[i + 1]];
      sum += nll;
      if (!GetParam()) {
        EXPECT_NEAR(nll, prompt.at("nll")[i].get<double>(), 1e-3)
            << "prompt " << p << ", token " << i;
      }
    }
    double expected =
        GetParam() ? all.at("nf4_nll")[p].get<double>() : prompt.at("mean_nll").get<double>();
    EXPECT_NEAR(sum / double(batch.labels), expected, 1e-4) << "prompt " << p;
    if (GetParam())
      continue;
    const float *last = logits.data() + (batch.ids.size() - 1) * vocab;
    for (size_t i = 0; i < 20; ++i)
      EXPECT_NEAR(last[prompt.at("top20_ids")[i].get<int>()],
                  prompt.at("top20_logits")[i].get<double>(), 1e-3)
          << "prompt " << p << ", rank " << i;
  }
}

TEST_P(SmolGolden, FirstTenLosses) {
  CompiledSpec compiled(GetParam() ? "smol_steps_nf4" : "smol_steps", smolSpec(GetParam()));
  ASSERT_TRUE(compiled.session());
  nlohmann::json expected = reference().at("train").at(
      GetParam() ? "qlora_nf4_dq_fp32_q_proj_v_proj_same_init" : "lora_q_proj_v_proj");
  size_t step = 0;
  for (auto &line : compiled.train())
    if (line.count("loss")) {
      EXPECT_LT(std::abs(line["loss"] / expected.at("losses")[step].get<double>() - 1), 1e-3)
          << "step " << step << ": " << line["loss"];
      EXPECT_LT(std::abs(line["grad_norm"] / expected.at("grad_norms")[step].get<double>() - 1),
                1e-2)
          << "step " << step;
      ++step;
    }
  EXPECT_EQ(step, 10u);
}

INSTANTIATE_TEST_SUITE_P(All, SmolGolden, testing::Bool(),
                         [](const auto &info) { return info.param ? "nf4" : "keep"; });

} // namespace
} // namespace lorac::test
