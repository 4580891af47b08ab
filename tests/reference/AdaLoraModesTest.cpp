// The four modes of AdaLoRA, as compiled programs that shrink while they train, against a plain
// float64 run in which nothing ever shrinks: losses, budgets, and which triplet of which module is
// alive, masked or dead after every step.

#include "runtime/formats/Adapter.h"
#include "runtime/train/Random.h"
#include "tests/reference/CompiledSpec.h"
#include "tests/reference/PlainAdaLora.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace lorac::test {
namespace {

namespace fs = std::filesystem;

struct Variant {
  const char *prune;
  train::PruneMode mode;
  int64_t initRank, targetRank;
  double startE; ///< 0: E starts from zero, as in every ordinary run
};

std::string nameOf(const testing::TestParamInfo<Variant> &info) {
  return fmt::format("{}_{}", info.param.prune, info.param.initRank);
}

nlohmann::json jsonOf(const fs::path &path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

class AdaLoraModes : public testing::TestWithParam<Variant> {
protected:
  static constexpr int64_t steps = 44;
  const fs::path root = fs::temp_directory_path() / fmt::format("lorac-adalora-start-{}", getpid());
  std::vector<std::string> modules;
  std::map<std::string, std::vector<float>> start;

  void SetUp() override { fs::create_directories(root); }
  void TearDown() override { fs::remove_all(root); }

  /// A, B from N(0, 0.02), E as the variant says.
  void drawStart(const PlainLlama &model) {
    uint64_t drawn = 0;
    train::RandomStream random(17, "start");
    std::vector<formats::TensorToWrite> tensors;
    for (int layer = 0; layer < 2; ++layer)
      for (const char *part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                               "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
        modules.push_back(fmt::format("model.layers.{}.{}", layer, part));
    for (const std::string &module : modules) {
      const auto [out, in] = model.shapeOf(module);
      const int64_t r = GetParam().initRank;
      auto draw = [&](const char *name, std::vector<int64_t> shape, double deviation) {
        const std::string key = "base_model.model." + module + "." + name;
        std::vector<float> &values = start[key];
        values.resize(size_t(shape[0] * shape[1]));
        for (float &value : values)
          value = float(deviation * random.normal(drawn++));
        tensors.push_back({key, formats::DType::F32, std::move(shape), values.data()});
      };
      draw("lora_A", {r, in}, 0.02);
      draw("lora_B", {out, r}, 0.02);
      draw("lora_E", {r, 1}, GetParam().startE);
    }
    auto written = formats::writeSafetensors((root / "start.safetensors").string(), tensors);
    ASSERT_TRUE(written) << written.error().message;
  }

  PlainAdaLoraSettings settings() const {
    PlainAdaLoraSettings of;
    of.initRank = GetParam().initRank, of.targetRank = GetParam().targetRank;
    of.tinit = 3, of.tfinal = 14, of.deltaT = 5, of.steps = steps;
    of.alpha = 16, of.beta1 = 0.8, of.beta2 = 0.9, of.orthRegWeight = 0.3;
    of.learningRate = 0.01, of.weightDecay = 0.02, of.maxGradNorm = 1;
    of.prune = GetParam().mode;
    return of;
  }

  std::string spec(const PlainAdaLoraSettings &of) const {
    return fmt::format(
        "[model]\nsource = \"{}\"\n[adapter]\nmethod = \"adalora\"\nlora_alpha = {}\n"
        "target_modules = \"all-linear\"\ninit_from = \"{}\"\n[adapter.adalora]\ninit_r = {}\n"
        "target_r = {}\ntinit = {}\ntfinal = {}\ndeltaT = {}\nbeta1 = {}\nbeta2 = {}\n"
        "orth_reg_weight = {}\nprune = \"{}\"\nrebuild = \"always\"\n[optimizer]\n"
        "learning_rate = {}\nweight_decay = {}\nmax_grad_norm = {}\n[schedule]\nname = "
        "\"constant\"\nwarmup_steps = 0\n[[data]]\npath = \"{}\"\nformat = \"tokens\"\n[train]\n"
        "steps = {}\nbatch_size = 2\nmax_length = 24\neval_steps = 0\nsave_steps = 1\n[target]\n"
        "device = \"cpu\"\n",
        golden("tiny/tied").string(), of.alpha, (root / "start.safetensors").string(), of.initRank,
        of.targetRank, of.tinit, of.tfinal, of.deltaT, of.beta1, of.beta2, of.orthRegWeight,
        GetParam().prune, of.learningRate, of.weightDecay, of.maxGradNorm,
        golden("tiny/train_data.safetensors").string(), of.steps);
  }
};

TEST_P(AdaLoraModes, FollowThePlainRun) {
  const PlainLlama model(golden("tiny/tied").string());
  drawStart(model);
  const PlainAdaLoraSettings of = settings();
  CompiledSpec compiled(fmt::format("modes_{}", nameOf({GetParam(), 0})), spec(of));
  ASSERT_TRUE(compiled.session());
  const fs::path out = compiled.folder() / "out";
  ASSERT_EQ(std::system(fmt::format("{} --quiet --out {} --lorac {}/lorac",
                                    (compiled.folder() / "generated/train").string(), out.string(),
                                    LORAC_BINARY_DIR)
                            .c_str()),
            0);
  std::vector<nlohmann::json> losses;
  std::map<int64_t, nlohmann::json> allocations; // by steps done
  std::ifstream metrics(out / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    nlohmann::json object = nlohmann::json::parse(line);
    if (object.contains("loss"))
      losses.push_back(object);
    if (object.contains("budget"))
      allocations[object.at("step")] = object;
  }
  ASSERT_EQ(int64_t(losses.size()), steps);

  PlainAdaLora plain(model, of, modules, start);
  const int64_t batches = int64_t(compiled.data().pieces.size()) / compiled.data().batchRows;
  double worstLoss = 0, worstTerm = 0, smallestGap = 1;
  int64_t allocated = 0, dead = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const PlainAdaLora::Step wanted = plain.step(compiled.batch(step % batches));
    auto errorOf = [&](const char *key, double value) {
      return std::abs(losses[size_t(step)].at(key).get<double>() / value - 1);
    };
    EXPECT_LT(errorOf("loss", wanted.loss), 2e-5) << "step " << step;
    EXPECT_LT(errorOf("orthogonality", wanted.orthogonality), 2e-5) << "step " << step;
    EXPECT_LT(errorOf("grad_norm", wanted.gradNorm), 1e-3) << "step " << step;
    worstLoss = std::max(worstLoss, errorOf("loss", wanted.loss));
    worstTerm = std::max(worstTerm, errorOf("orthogonality", wanted.orthogonality));
    if (wanted.allocated) {
      ++allocated;
      smallestGap = std::min(smallestGap, wanted.gap);
      if (allocations.count(step + 1)) { // what changes nothing has no line
        EXPECT_EQ(allocations[step + 1].at("budget"), wanted.budget) << "step " << step;
      }
    }
    // 0 alive, 1 masked, 2 dead
    const nlohmann::json triplets = jsonOf(out / fmt::format("checkpoint-{}", step + 1) /
                                           "trainer_state.json")["ranks"]["triplets"];
    nlohmann::json sets = nlohmann::json::array();
    dead = 0;
    for (const auto &module : plain.sets()) {
      nlohmann::json &list = sets.emplace_back(nlohmann::json::array());
      for (int i = 0; i < module.initRank; ++i) {
        list.push_back(module.alive.count(i) ? 0 : module.masked.count(i) ? 1 : 2);
        dead += list.back() == 2;
      }
    }
    ASSERT_EQ(triplets, sets) << "step " << step;
  }
  EXPECT_EQ(allocated, 6);

  // The dead were removed from the program, where any can die.
  const nlohmann::json manifest = jsonOf(out / "manifest.json");
  int64_t swaps = 0, stored = of.initRank * int64_t(modules.size());
  if (GetParam().mode == train::PruneMode::Mask) {
    EXPECT_EQ(dead, 0);
  } else {
    for (const nlohmann::json &program : manifest.at("programs")) {
      EXPECT_FALSE(program.contains("failure")) << program;
      EXPECT_LT(program.at("planned_bytes_after"), program.at("planned_bytes_before"));
      stored = program.at("ranks_after");
      ++swaps;
    }
    EXPECT_GT(swaps, 0);
    EXPECT_EQ(stored, of.initRank * int64_t(modules.size()) - dead);
  }

  // And the adapter has the live ones' numbers.
  auto written = formats::readAdapter(out);
  ASSERT_TRUE(written) << written.error().message;
  double worstTensor = 0;
  for (size_t m = 0; m < modules.size(); ++m) {
    const std::set<int> &alive = plain.sets()[m].alive;
    const formats::AdapterModule *found = written->find(modules[m]);
    ASSERT_EQ(found != nullptr, !alive.empty()) << modules[m];
    if (!found)
      continue;
    ASSERT_EQ(found->rank, int64_t(alive.size()));
    std::vector<float> a, b(found->b.size());
    size_t place = 0;
    for (int i : alive) {
      const PlainAdaLora::Triplet &triplet = plain.modules()[m].triplets[size_t(i)];
      for (const PlainAdaLora::Element &element : triplet.a)
        a.push_back(float(element.p));
      for (size_t j = 0; j < triplet.b.size(); ++j)
        b[j * alive.size() + place] = float(triplet.b[j].p * triplet.e.p);
      ++place;
    }
    EXPECT_LT(errorOf(found->a, a), 1e-3) << modules[m];
    EXPECT_LT(errorOf(found->b, b), 1e-3) << modules[m];
    worstTensor = std::max({worstTensor, errorOf(found->a, a), errorOf(found->b, b)});
  }
  RecordProperty("figures",
                 fmt::format("losses {:.1e}, orthogonality {:.1e}, adapter {:.1e}; {} programs, {} "
                             "of {} triplets dead; smallest gap at a threshold {:.1e}",
                             worstLoss, worstTerm, worstTensor, swaps, dead,
                             of.initRank * int64_t(modules.size()), smallestGap));
}

using train::PruneMode;
INSTANTIATE_TEST_SUITE_P(All, AdaLoraModes,
                         testing::Values(Variant{"mask", PruneMode::Mask, 12, 4, 0},
                                         Variant{"final", PruneMode::Final, 12, 4, 0},
                                         Variant{"bucketed", PruneMode::Bucketed, 24, 5, 0},
                                         Variant{"bucketed", PruneMode::Bucketed, 11, 3, 0.1},
                                         Variant{"eager", PruneMode::Eager, 24, 5, 0},
                                         Variant{"eager", PruneMode::Eager, 8, 2, 0.1}),
                         nameOf);

} // namespace
} // namespace lorac::test
