// AdaLoRA on the CUDA target, in the PTX simulator, on PEFT's runs over the tiny Llama: losses and
// orthogonality terms to 16-bit activations, budgets as they are, ranks but for near-ties
// (tests/golden/README.md). A run that goes on from a checkpoint gives the same bytes; and programs
// of fewer ranks take over without a change of what is trained.

#include "compiler/codegen/cuda/Nvrtc.h"
#include "runtime/formats/Adapter.h"
#include "tests/reference/CompiledSpec.h"
#include "tests/unit/train/Simulator.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace lorac::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string textOf(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Metrics {
  std::map<int64_t, Json> losses; ///< by step from 0
  std::map<int64_t, Json> ranks;  ///< of the start (-1) and of each allocation
};

Metrics metricsOf(const fs::path &folder) {
  Metrics run;
  std::ifstream metrics(folder / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const Json object = Json::parse(line);
    const int64_t step = object.at("step").get<int64_t>() - 1;
    if (object.contains("loss"))
      run.losses[step] = object;
    if (object.contains("rank_pattern"))
      run.ranks[step] = object;
  }
  return run;
}

class CudaAdaLora : public testing::Test {
protected:
  void SetUp() override {
    if (train::simulatorLibrary().empty())
      GTEST_SKIP() << "this build has no PTX simulator";
    if (auto nvrtc = cuda::Nvrtc::open(); !nvrtc)
      GTEST_SKIP() << llvm::toString(nvrtc.takeError());
  }

  static std::string spec(const std::string &model, const std::string &compute,
                          const std::string &prune) {
    return fmt::format(
        "[model]\nsource = \"{}\"\n[quantization]\nformat = \"none\"\ncompute_dtype = "
        "\"{}\"\n[adapter]\nmethod = "
        "\"adalora\"\nlora_alpha = 16\ntarget_modules = \"all-linear\"\ninit_from = \"{}\"\n"
        "[adapter.adalora]\ninit_r = 8\ntarget_r = 3\ntinit = 5\ntfinal = 10\ndeltaT = 5\n"
        "{}\n[optimizer]\nlearning_rate = 0.01\nweight_decay = 0.01\nmax_grad_norm = 0.0\n"
        "[schedule]\nname = \"constant\"\nwarmup_steps = 0\n[[data]]\npath = \"{}\"\nformat = "
        "\"tokens\"\n[train]\nsteps = 40\nbatch_size = 2\nmax_length = 24\neval_steps = 0\n"
        "save_steps = 12\n[target]\ndevice = \"cuda\"\n",
        golden("tiny/" + model).string(), compute,
        (golden("adalora/" + model) / "init.safetensors").string(), prune,
        golden("adalora/train_data.safetensors").string());
  }
  /// `arguments` of the generated binary, after --quiet.
  static void trains(const CompiledSpec &compiled, const std::string &arguments) {
    const std::string command =
        (compiled.folder() / "generated/train").string() + " --quiet " + arguments;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  train::Simulator simulator;
};

class CudaAdaLoraGolden
    : public CudaAdaLora,
      public testing::WithParamInterface<std::pair<const char *, const char *>> {};

TEST_P(CudaAdaLoraGolden, TrainsAsPeft) {
  const auto [model, compute] = GetParam();
  CompiledSpec compiled(fmt::format("cuda_adalora_{}_{}", model, compute),
                        spec(model, compute, "prune = \"mask\""));
  ASSERT_TRUE(compiled.session());
  const fs::path out = compiled.folder() / "out";
  ASSERT_NO_FATAL_FAILURE(trains(compiled, "--overwrite --out " + out.string()));
  const Metrics run = metricsOf(out);
  const Json wanted = Json::parse(textOf(golden("adalora/" + std::string(model)) / "train.json"));

  // Until a triplet stays that PEFT masks, what differs is rounding; from there on two runs are
  // compared.
  double worstLoss = 0, worstTerm = 0, lossBefore = 0, termBefore = 0;
  int64_t moved = 0, most = 0;
  for (const Json &row : wanted.at("rows")) {
    const int64_t step = row.at("step");
    ASSERT_TRUE(run.losses.contains(step)) << step;
    auto error = [&](const char *ours, const char *theirs) {
      return std::fabs(run.losses.at(step).at(ours).get<double>() / row.at(theirs).get<double>() -
                       1);
    };
    worstLoss = std::max(worstLoss, error("loss", "loss"));
    worstTerm = std::max(worstTerm, error("orthogonality", "orth_reg"));
    if (moved == 0)
      lossBefore = worstLoss, termBefore = worstTerm;
    if (!row.at("allocated"))
      continue;
    // An allocation that changes nothing has no line.
    const Json &line = std::prev(run.ranks.upper_bound(step))->second;
    if (line.contains("budget")) {
      EXPECT_EQ(line.at("budget"), row.at("budget")) << "step " << step;
    }
    int64_t total = 0, theirs = 0, elsewhere = 0;
    size_t m = 0;
    for (const auto &[module, rank] : line.at("rank_pattern").items()) {
      const int64_t ours = rank, peft = row.at("ranks").at(m++);
      total += ours, theirs += peft;
      elsewhere += std::max<int64_t>(ours - peft, 0);
    }
    EXPECT_EQ(total, theirs) << "step " << step;
    EXPECT_LE(elsewhere, theirs / 10) << "step " << step;
    moved += elsewhere, most = std::max(most, elsewhere);
  }
  fmt::print("losses differ by at most {:.1e} ({:.1e} while ranks are PEFT's), the orthogonality "
             "term by {:.1e} ({:.1e}); at most {} ranks lie in another module\n",
             worstLoss, lossBefore, worstTerm, termBefore, most);
  EXPECT_LT(lossBefore, 5e-3);
  EXPECT_LT(worstLoss, 2e-2);
  EXPECT_LT(termBefore, 5e-3);
  EXPECT_LT(worstTerm, 5e-2);

  // Goes on from step 24.
  const std::string adapter = textOf(out / "adapter_model.safetensors");
  ASSERT_FALSE(adapter.empty());
  for (const char *name : {"checkpoint-40", "checkpoint-36"})
    fs::remove_all(out / name);
  ASSERT_NO_FATAL_FAILURE(trains(compiled, "--resume --out " + out.string()));
  EXPECT_EQ(textOf(out / "adapter_model.safetensors"), adapter);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaAdaLoraGolden,
                         testing::Values(std::pair("tied", "bf16"), std::pair("untied", "bf16"),
                                         std::pair("tied", "f16")),
                         [](const auto &info) {
                           return std::string(info.param.first) + "_" + info.param.second;
                         });

// Smaller programs, built by lorac while the run goes on, against the program of the start that
// stores what died as zeros.
TEST_F(CudaAdaLora, SmallerProgramsTakeOver) {
  CompiledSpec compiled("cuda_adalora_eager",
                        spec("tied", "bf16", "prune = \"eager\"\nrebuild = \"always\""));
  ASSERT_TRUE(compiled.session());
  const fs::path out = compiled.folder() / "out", fixed = compiled.folder() / "fixed";
  const std::string builder = " --lorac " LORAC_BINARY_DIR "/lorac --out " + out.string();
  ASSERT_NO_FATAL_FAILURE(trains(compiled, "--overwrite" + builder));
  ASSERT_NO_FATAL_FAILURE(
      trains(compiled, "--overwrite --allow-fixed-ranks --out " + fixed.string()));
  const Metrics run = metricsOf(out), whole = metricsOf(fixed);
  double worst = 0;
  for (const auto &[step, line] : whole.losses)
    worst = std::max(worst, std::fabs(run.losses.at(step).at("loss").get<double>() /
                                          line.at("loss").get<double>() -
                                      1));
  int64_t programs = 0, kernels = 0;
  for (const auto &[step, line] : run.ranks)
    if (line.contains("program_ranks"))
      ++programs, kernels += line.at("kernels_built").get<int64_t>();
  const Json first = run.ranks.begin()->second, last = run.ranks.rbegin()->second;
  fmt::print("{} programs with {} kernels of their own; losses differ by at most {:.1e}; planned "
             "{} -> {}\n",
             programs, kernels, worst, first.at("planned_bytes").dump(),
             last.at("planned_bytes").dump());
  EXPECT_GT(programs, 1);
  EXPECT_LT(worst, 1e-2);
  EXPECT_LT(last.at("planned_bytes"), first.at("planned_bytes"));
  EXPECT_LT(last.at("resident_bytes"), first.at("resident_bytes"));
  EXPECT_EQ(last.at("rank_pattern"), whole.ranks.rbegin()->second.at("rank_pattern"));

  // Goes on from step 24, with the program of that step.
  const std::string adapter = textOf(out / "adapter_model.safetensors");
  ASSERT_FALSE(adapter.empty());
  for (const char *name : {"checkpoint-40", "checkpoint-36"})
    fs::remove_all(out / name);
  ASSERT_NO_FATAL_FAILURE(trains(compiled, "--resume" + builder));
  EXPECT_EQ(textOf(out / "adapter_model.safetensors"), adapter);
}

} // namespace
} // namespace lorac::test
