// A Llama whose GGUF mixes types as a Q4_K_M file does. As numbers and as the file has it: against
// PEFT over the base that the gguf package dequantizes (tests/golden/README.md). Quantized to NF4:
// against the same from the dequantized numbers.

#include "runtime/formats/Gguf.h"
#include "runtime/formats/MappedFile.h"
#include "tests/reference/CompiledSpec.h"

#include <fmt/format.h>

#include <cmath>

namespace lorac::test {
namespace {

std::string spec(const std::string &model, const std::string &format) {
  return fmt::format("[model]\nsource = \"{}\"\n[quantization]\nformat = \"{}\"\n", model, format) +
         fmt::format("[adapter]\nr = 4\nlora_alpha = 8\ntarget_modules = [\"q_proj\", "
                     "\"v_proj\", \"down_proj\"]\ninit_from = \"{}\"\n",
                     golden("arch/kquants/lora_init").string()) +
         "[optimizer]\nlearning_rate = 0.005\nweight_decay = 0.01\nmax_grad_norm = 0.0\n"
         "[schedule]\nname = \"constant\"\nwarmup_steps = 0\n" +
         fmt::format("[[data]]\npath = \"{}\"\nformat = \"tokens\"\n",
                     golden("arch/train_data.safetensors").string()) +
         "[train]\nsteps = 10\nbatch_size = 2\nmax_length = 96\neval_steps = 0\nsave_steps = 0\n"
         "[target]\ndevice = \"cpu\"\n";
}
std::string model() { return golden("arch/kquants/model.gguf").string(); }

formats::Safetensors reference(const std::string &name) {
  auto file = formats::Safetensors::open(golden("arch/kquants/" + name));
  EXPECT_TRUE(file) << file.error().message;
  return std::move(*file);
}

/// One row of tokens as a micro-batch.
train::MicroBatch batchOf(std::span<const int64_t> ids) {
  train::MicroBatch batch;
  batch.ids.assign(ids.begin(), ids.end());
  for (size_t i = 0; i < ids.size(); ++i) {
    batch.positions.push_back(int32_t(i));
    batch.targets.push_back(i + 1 < ids.size() ? batch.ids[i + 1] : -100);
  }
  batch.segmentStarts = {0, int32_t(ids.size())};
  batch.labels = int64_t(ids.size()) - 1;
  return batch;
}

class KQuants : public testing::TestWithParam<const char *> {};

TEST_P(KQuants, Logits) {
  CompiledSpec compiled(fmt::format("kquants_{}", GetParam()), spec(model(), GetParam()));
  ASSERT_TRUE(compiled.session());
  // By the table of types in docs/plan.md, over the file's; and five norms.
  int64_t bytes = 0;
  for (const train::PlanWeight &weight : compiled.session()->plan.weights)
    for (const train::PlanPart &part : weight.parts)
      bytes += part.bytes;
  EXPECT_EQ(bytes, (GetParam() == std::string("keep") ? 1093632 : 4194304) + 5 * 256 * 4);
  const formats::Safetensors made = reference("forward.safetensors");
  for (const std::string prefix : {"", "long."}) {
    const std::vector<int64_t> ids = *made.integers(prefix + "input_ids"),
                               positions = *made.integers(prefix + "positions");
    const size_t length = size_t(made.find(prefix + "input_ids")->shape[1]);
    std::vector<float> logits;
    for (size_t row = 0; row * length < ids.size(); ++row) {
      const std::vector<float> all =
          compiled.logits(batchOf(std::span(ids).subspan(row * length, length)));
      const size_t vocab = all.size() / length;
      for (const int64_t position : positions)
        logits.insert(logits.end(), all.begin() + int64_t(size_t(position) * vocab),
                      all.begin() + int64_t(size_t(position + 1) * vocab));
    }
    EXPECT_LT(errorOf(logits, *made.floats(prefix + "logits")), 1e-5) << prefix;
  }
}

TEST_P(KQuants, GradientsAndTenSteps) {
  CompiledSpec compiled(fmt::format("kquants_steps_{}", GetParam()), spec(model(), GetParam()));
  ASSERT_TRUE(compiled.session());
  compiled.loadAdapter(golden("arch/kquants/lora_init"));
  const formats::Safetensors made = reference("lora_train.safetensors");
  const std::vector<float> losses = *made.floats("losses");
  std::map<std::string, std::vector<float>> gradients;
  const double loss = compiled.lossAndGradients(compiled.batch(0), gradients);
  EXPECT_LT(std::abs(loss / losses[0] - 1), 1e-5);
  EXPECT_EQ(gradients.size(), 12u);
  for (const auto &[name, gradient] : gradients)
    EXPECT_LT(errorOf(gradient, *made.floats("grad." + name)), 1e-5) << name;

  size_t step = 0;
  for (auto &line : compiled.train())
    if (line.count("loss")) {
      ASSERT_LT(step, losses.size());
      EXPECT_LT(std::abs(line["loss"] / losses[step] - 1), 1e-5) << "step " << step;
      ++step;
    }
  EXPECT_EQ(step, losses.size());
  auto ours = formats::Safetensors::open(compiled.folder() / "out/adapter_model.safetensors");
  ASSERT_TRUE(ours) << ours.error().message;
  const formats::Safetensors last = reference("lora_final/adapter_model.safetensors");
  EXPECT_EQ(ours->tensors().size(), last.tensors().size());
  for (const formats::TensorInfo &tensor : last.tensors())
    EXPECT_LT(errorOf(*ours->floats(tensor.name), *last.floats(tensor.name)), 2e-2) << tensor.name;
}

INSTANTIATE_TEST_SUITE_P(Base, KQuants, testing::Values("none", "keep"),
                         [](const auto &info) { return std::string(info.param); });

/// The same model with every tensor as float32.
void writeDequantized(const std::string &path) {
  auto file = formats::Gguf::open(model());
  ASSERT_TRUE(file) << file.error().message;
  formats::GgufWriter writer;
  writer.text("general.architecture", "llama");
  for (const formats::GgufKey &key : file->keys())
    if (key.name.starts_with("llama.")) {
      if (key.type == formats::GgufType::F32)
        writer.f32(key.name, float(*file->number(key.name)));
      else
        writer.u32(key.name, uint32_t(*file->integer(key.name)));
    }
  for (const formats::GgufTensor &tensor : file->tensors()) {
    const std::vector<float> values = *file->tensorFloats(tensor.name);
    writer.tensor(tensor.name, formats::GgmlType::F32, tensor.shape, std::span(values));
  }
  ASSERT_TRUE(writer.write(path));
}

std::vector<uint8_t> adapterAfter(const std::string &name, const std::string &toml) {
  CompiledSpec compiled(name, toml);
  EXPECT_TRUE(compiled.session());
  EXPECT_FALSE(compiled.train().empty());
  auto file = formats::MappedFile::open(compiled.folder() / "out/adapter_model.safetensors");
  EXPECT_TRUE(file) << file.error().message;
  return {(*file)->bytes().begin(), (*file)->bytes().end()};
}

/// Kernels that decode the file's codes, numbers in memory and a quantizer see the same values, bit
/// for bit.
TEST(KQuants, DecodedOrReadTheyAreTheSameNumbers) {
  const std::string floats =
      std::filesystem::temp_directory_path() / fmt::format("lorac-floats-{}.gguf", getpid());
  writeDequantized(floats);
  const auto whole = adapterAfter("kquants_f32", spec(floats, "none"));
  EXPECT_EQ(adapterAfter("kquants_keep", spec(model(), "keep")), whole);
  EXPECT_EQ(adapterAfter("kquants_none", spec(model(), "none")), whole);
  const auto nf4 = adapterAfter("kquants_f32_nf4", spec(floats, "nf4"));
  EXPECT_EQ(adapterAfter("kquants_nf4", spec(model(), "nf4")), nf4);
  EXPECT_NE(nf4, whole);
  std::filesystem::remove(floats);
}

} // namespace
} // namespace lorac::test
