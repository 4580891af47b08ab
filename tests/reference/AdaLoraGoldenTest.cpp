// AdaLoRA with prune = "mask" against PEFT on the tiny Llama, tied and untied, through compiled
// kernels: every step's loss and orthogonality term, every allocation's budget, threshold, scores
// and live triplets (tolerances: tests/golden/README.md); a run that goes on from a checkpoint, and
// one of one thread, give the same bytes.

#include "runtime/formats/Adapter.h"
#include "runtime/train/StepScalars.h"
#include "runtime/train/ranks/RankTraining.h"
#include "runtime/train/ranks/TripletParams.h"
#include "tests/reference/CompiledSpec.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace lorac::test {
namespace {

namespace fs = std::filesystem;

std::string textOf(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class AdaLoraGolden : public testing::TestWithParam<const char *> {
protected:
  fs::path folder() const { return golden(std::string("adalora/") + GetParam()); }

  nlohmann::json wanted() const { return nlohmann::json::parse(textOf(folder() / "train.json")); }

  // What PEFT was told, in our words.
  std::string spec() const {
    const nlohmann::json run = wanted(), &config = run.at("config"), &adam = run.at("optimizer");
    auto shape = formats::Safetensors::open(golden("adalora/train_data.safetensors").string())
                     ->find("input_ids")
                     ->shape;
    return fmt::format(
        "[model]\nsource = \"{}\"\n[adapter]\nmethod = \"adalora\"\nlora_alpha = {}\n"
        "target_modules = {}\ninit_from = \"{}\"\n[adapter.adalora]\ninit_r = {}\ntarget_r = {}\n"
        "tinit = {}\ntfinal = {}\ndeltaT = {}\nbeta1 = {}\nbeta2 = {}\north_reg_weight = {}\n"
        "prune = \"mask\"\n[optimizer]\nlearning_rate = {}\nbetas = {}\neps = {}\n"
        "weight_decay = {}\nmax_grad_norm = 0.0\n[schedule]\nname = \"constant\"\n"
        "warmup_steps = 0\n[[data]]\npath = \"{}\"\nformat = \"tokens\"\n[train]\nsteps = {}\n"
        "batch_size = {}\nmax_length = {}\neval_steps = 0\nsave_steps = 12\n[target]\n"
        "device = \"cpu\"\n",
        golden(std::string("tiny/") + GetParam()).string(), config.at("ada_alpha").dump(),
        run.at("module_order").dump(), (folder() / "init.safetensors").string(),
        config.at("ada_init").dump(), config.at("ada_target").dump(), config.at("ada_tinit").dump(),
        config.at("ada_tfinal").dump(), config.at("ada_dt").dump(), config.at("ada_b1").dump(),
        config.at("ada_b2").dump(), config.at("ada_orth").dump(), adam.at("lr").dump(),
        adam.at("betas").dump(), adam.at("eps").dump(), adam.at("weight_decay").dump(),
        golden("adalora/train_data.safetensors").string(), config.at("ada_total").dump(), shape[1],
        shape[2]);
  }
};

TEST_P(AdaLoraGolden, TrainsAsPeft) {
  CompiledSpec compiled(fmt::format("adalora_{}", GetParam()), spec());
  ASSERT_TRUE(compiled.session());
  const nlohmann::json wanted = this->wanted();
  ASSERT_EQ(std::system((compiled.folder() / "generated/train --quiet --overwrite --out ")
                            .string()
                            .append((compiled.folder() / "out").string())
                            .c_str()),
            0);
  std::map<int64_t, nlohmann::json> losses, patterns, allocations; // by step from 0
  std::ifstream metrics(compiled.folder() / "out/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const nlohmann::ordered_json object = nlohmann::ordered_json::parse(line);
    const int64_t step = object.at("step").get<int64_t>() - 1;
    if (object.contains("loss"))
      losses[step] = object;
    if (object.contains("rank_pattern")) {
      std::vector<int64_t> ranks;
      for (const auto &[module, rank] : object.at("rank_pattern").items())
        ranks.push_back(rank);
      patterns[step] = ranks;
      allocations[step] = object;
    }
  }
  for (const nlohmann::json &row : wanted.at("rows")) {
    const int64_t step = row.at("step");
    ASSERT_TRUE(losses.contains(step)) << step;
    EXPECT_NEAR(losses[step].at("loss").get<double>() / row.at("loss").get<double>(), 1, 3e-5);
    EXPECT_NEAR(losses[step].at("orthogonality").get<double>() / row.at("orth_reg").get<double>(),
                1, 3e-5);
  }
  for (const nlohmann::json &event : wanted.at("events")) {
    const int64_t step = event.at("step");
    ASSERT_TRUE(patterns.contains(step)) << step;
    EXPECT_EQ(patterns[step], wanted.at("rows").at(size_t(step)).at("ranks")) << "step " << step;
    EXPECT_EQ(allocations[step].at("budget"), event.at("budget")) << "step " << step;
    EXPECT_NEAR(allocations[step].at("threshold").get<double>() /
                    event.at("threshold").get<double>(),
                1, 1e-2);
  }
  EXPECT_EQ(patterns.size(), wanted.at("events").size() + 1); // and the start

  // What is written is plain LoRA with the same update as PEFT's own adapter.
  auto written = formats::readAdapter(compiled.folder() / "out"),
       reference = formats::readAdapter(folder() / "adapter_final");
  ASSERT_TRUE(written) << written.error().message;
  ASSERT_TRUE(reference) << reference.error().message;
  const formats::Adapter folded = formats::foldTriplets(std::move(*reference));
  ASSERT_EQ(written->modules.size(), folded.modules.size());
  for (const formats::AdapterModule &module : folded.modules) {
    const formats::AdapterModule *found = written->find(module.module);
    ASSERT_TRUE(found) << module.module;
    EXPECT_EQ(found->rank, module.rank);
    EXPECT_NEAR(found->scale / module.scale, 1, 1e-9);
    EXPECT_LT(errorOf(found->a, module.a), 2e-2) << module.module;
    EXPECT_LT(errorOf(found->b, module.b), 2e-2) << module.module;
  }

  // Goes on from step 24; with one thread.
  const std::string adapter = textOf(compiled.folder() / "out/adapter_model.safetensors");
  ASSERT_FALSE(adapter.empty());
  const std::string train = (compiled.folder() / "generated/train").string() + " --quiet --out ";
  for (const char *name : {"checkpoint-40", "checkpoint-36"})
    fs::remove_all(compiled.folder() / "out" / name);
  ASSERT_EQ(std::system((train + (compiled.folder() / "out").string() + " --resume").c_str()), 0);
  EXPECT_EQ(textOf(compiled.folder() / "out/adapter_model.safetensors"), adapter);
  ASSERT_EQ(std::system((train + (compiled.folder() / "one").string() + " --threads 1").c_str()),
            0);
  EXPECT_EQ(textOf(compiled.folder() / "one/adapter_model.safetensors"), adapter);
}

// The same run step by step, for what no file has: the scores of each allocation, and E.
TEST_P(AdaLoraGolden, ScoresAndMasksAsPeft) {
  CompiledSpec compiled(fmt::format("adalora_scores_{}", GetParam()), spec());
  ASSERT_TRUE(compiled.session());
  train::Session &session = *compiled.session();
  const train::RunConfig &run = session.run;
  const nlohmann::json wanted = this->wanted();
  auto numbers = formats::Safetensors::open((folder() / "train.safetensors").string());
  ASSERT_TRUE(numbers) << numbers.error().message;
  const std::vector<float> maskedE = *numbers->floats("E_after_each_step");
  auto training = train::RankTraining::create(session.plan, *run.adalora, run.steps);
  ASSERT_TRUE(training) << training.error().message;
  compiled.loadAdapter(folder() / "init.safetensors");

  const std::vector<train::ParamGroup> groups = train::makeGroups(session.plan);
  const int64_t batches = int64_t(compiled.data().pieces.size()) / compiled.data().batchRows;
  size_t event = 0, e = 0;
  double worstScore = 0, worstThreshold = 0;
  for (int64_t step = 0; step < run.steps; ++step) {
    const train::MicroBatch batch = compiled.batch(step % batches);
    ASSERT_TRUE(session.backend->zeroGrads() && session.feed(batch) &&
                session.execute(train::Program::Train, batch, 1.0f / float(batch.labels)) &&
                session.backend->regularize());
    ASSERT_TRUE(session.backend->gradNorm(run.maxGradNorm) &&
                session.backend->update(train::stepScalars(session.plan.updateScalars, groups,
                                                           run.learningRate, step + 1)));
    auto made = training->afterUpdate(
        *session.backend,
        train::stepScalars(session.plan.importanceScalars, groups, run.learningRate, step + 1),
        step);
    ASSERT_TRUE(made) << made.error().message;
    auto floats = session.backend->read();
    ASSERT_TRUE(floats) << floats.error().message;

    const train::RankAllocator &ranks = training->allocator();
    if (*made) {
      const nlohmann::json &of = wanted.at("events").at(event);
      ASSERT_EQ(of.at("step"), step);
      EXPECT_EQ(of.at("budget"), (*made)->budget);
      // Nothing dies, so the averages are still those that the allocation saw.
      const double error = errorOf(*session.backend->tripletScores(),
                                   *numbers->floats(fmt::format("event{}.scores", event)));
      EXPECT_LT(error, 1e-2) << "step " << step;
      const double threshold = double((*made)->threshold) / of.at("threshold").get<double>();
      EXPECT_NEAR(threshold, 1, 1e-2) << "step " << step;
      worstScore = std::max(worstScore, error);
      worstThreshold = std::max(worstThreshold, std::abs(threshold - 1));
      for (size_t m = 0; m < training->modules().size(); ++m)
        for (size_t i = 0; i < ranks.triplets()[m].size(); ++i)
          EXPECT_EQ(ranks.triplets()[m][i] == train::Triplet::Alive,
                    of.at("rank_pattern").at(training->modules()[m]).at(i) == 1)
              << training->modules()[m] << ", triplet " << i << ", step " << step;
      ++event;
    }
    auto layouts = train::tripletLayouts(session.plan.params, training->modules());
    ASSERT_TRUE(layouts) << layouts.error().message;
    for (const train::TripletLayout &at : *layouts)
      for (int64_t i = 0; i < at.rank; ++i, ++e)
        EXPECT_EQ(floats->params[at.e + i] == 0, maskedE[e] == 0) << e << ", step " << step;
  }
  EXPECT_EQ(event, wanted.at("events").size());
  EXPECT_EQ(e, maskedE.size());
  RecordProperty("worst_score_error", std::to_string(worstScore));
  RecordProperty("worst_threshold_error", std::to_string(worstThreshold));
}

INSTANTIATE_TEST_SUITE_P(Models, AdaLoraGolden, testing::Values("tied", "untied"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
} // namespace lorac::test
