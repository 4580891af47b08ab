// What `lorac explain` says, as numbers: of the tiny specs and of variants of them.

#include "compiler/tools/Explanation.h"
#include "dsl/Diagnostics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac;
using namespace lorac::tools;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

Project load(const std::string &spec, std::vector<std::string> sets = {}) {
  Project project;
  dsl::Diagnostics diags;
  EXPECT_EQ(loadProject({std::string(LORAC_SOURCE_DIR "/specs/") + spec + ".toml", std::move(sets)},
                        project, diags),
            Exit::Done)
      << diags.text();
  return project;
}

const TensorGroup *named(const std::vector<TensorGroup> &groups, const std::string &name) {
  for (const TensorGroup &group : groups)
    if (group.name() == name)
      return &group;
  return nullptr;
}

/// Its steps, counted one by one.
std::vector<int64_t> walked(const train::RankSchedule &schedule) {
  std::vector<int64_t> steps;
  for (int64_t step = 0; step < schedule.totalSteps; ++step)
    if (schedule.allocates(step))
      steps.push_back(step);
  return steps;
}

TEST(ExplanationTest, LayersAreWrittenAsRanges) {
  EXPECT_EQ(shownLayers({7}), "7");
  EXPECT_EQ(shownLayers({0, 1}), "{0,1}");
  EXPECT_EQ(shownLayers({0, 1, 2, 5, 7, 8, 9}), "{0..2,5,7..9}");
}

TEST(ExplanationTest, EqualLayersAreOneGroup) {
  const Explanation lora = explain(load("tiny_lora"));
  EXPECT_EQ(lora.tensors.size(), 28u);
  EXPECT_EQ(lora.parameters(), 9344);
  const std::vector<TensorGroup> groups = lora.grouped();
  EXPECT_EQ(groups.size(), 14u);
  const TensorGroup *down = named(groups, "model.layers.{0,1}.mlp.down_proj.lora_A");
  ASSERT_NE(down, nullptr);
  EXPECT_THAT(down->first.shape, ElementsAre(4, 176));
  EXPECT_EQ(down->count(), 2 * 4 * 176);
  EXPECT_EQ(down->first.scale, 2);
  // Parameters, gradients and two moments in float32.
  EXPECT_EQ(lora.bytes().total(), 16 * 9344);
  EXPECT_EQ(lora.bytes().importance, 0);
}

// L2-SP keeps the first parameters beside the optimizer's states.
TEST(ExplanationTest, TheStartIsAState) {
  const Explanation plain = explain(load("tiny_lora")),
                    pulled = explain(load("tiny_lora", {"adapter.l2_sp_weight=0.5"}));
  EXPECT_EQ(pulled.bytes().states, plain.bytes().states + plain.bytes().params);
}

TEST(ExplanationTest, ARuleParts) {
  const std::vector<TensorGroup> groups = explain(load("tiny_qlora")).grouped();
  const TensorGroup *ruled = named(groups, "model.layers.0.mlp.up_proj.lora_B"),
                    *other = named(groups, "model.layers.1.mlp.up_proj.lora_B");
  ASSERT_TRUE(ruled && other);
  EXPECT_EQ(ruled->first.rank, 2);
  EXPECT_EQ(ruled->first.scale, 4);
  EXPECT_EQ(other->first.rank, 4);
  EXPECT_NE(named(groups, "model.layers.{0,1}.self_attn.q_proj.lora_B"), nullptr);
}

TEST(ExplanationTest, RatesOfLoraPlus) {
  const Explanation plus = explain(load("tiny_loraplus", {"optimizer.weight_decay=0.01"}));
  ASSERT_EQ(plus.groups.size(), 2u);
  EXPECT_EQ(plus.groups[0].part, formats::AdapterPart::A);
  EXPECT_EQ(plus.groups[0].learningRate, 1e-3);
  EXPECT_EQ(plus.groups[1].part, formats::AdapterPart::B);
  EXPECT_EQ(plus.groups[1].ratio, 16);
  EXPECT_EQ(plus.groups[1].learningRate, 16e-3);
  for (const TrainedTensor &tensor : plus.tensors) {
    EXPECT_EQ(tensor.learningRate, tensor.part == formats::AdapterPart::B ? 16e-3 : 1e-3);
    EXPECT_EQ(tensor.weightDecay, 0.01);
  }
}

TEST(ExplanationTest, DecaysByGroup) {
  const Explanation all =
      explain(load("tiny_lora", {"optimizer.weight_decay=0.2", "optimizer.weight_decay_lora_B=0"}));
  EXPECT_EQ(all.groups[0].weightDecay, 0.2);
  EXPECT_EQ(all.groups[1].weightDecay, 0);
  for (const TrainedTensor &tensor : all.tensors)
    EXPECT_EQ(tensor.weightDecay, tensor.part == formats::AdapterPart::B ? 0 : 0.2);
}

TEST(ExplanationTest, TripletsOfAdaLora) {
  const Project project = load("tiny_adalora");
  const Explanation ada = explain(project);
  EXPECT_EQ(ada.tensors.size(), 42u);
  EXPECT_EQ(ada.parameters(), project.ranks->initialParameters);
  const std::vector<TensorGroup> groups = ada.grouped();
  const TensorGroup *e = named(groups, "model.layers.{0,1}.self_attn.k_proj.lora_E"),
                    *b = named(groups, "model.layers.{0,1}.self_attn.k_proj.lora_B");
  ASSERT_TRUE(e && b);
  EXPECT_THAT(e->first.shape, ElementsAre(24));
  EXPECT_DOUBLE_EQ(e->first.scale, 24 / (24 + 1e-5));
  EXPECT_EQ(e->first.most, 24);
  // Two averages of importance, and B beside B·diag(E).
  EXPECT_EQ(ada.bytes(e->first).total(), 24 * 24);
  EXPECT_EQ(ada.bytes(b->first).total(), 28 * 32 * 24);
}

TEST(ExplanationTest, TheBudgetIsTheRuns) {
  const train::RankSchedule schedule = rankSchedule(load("tiny_adalora"));
  EXPECT_THAT(allocationSteps(schedule, 24), ElementsAre(10, 20, 30, 40, 50));
  EXPECT_EQ(schedule.budget(10), 252);
  EXPECT_EQ(schedule.budget(50), 56);
}

TEST(ExplanationTest, AllocationsAreThoseOfTheSchedule) {
  for (int64_t tinit : {0, 1, 5, 8})
    for (int64_t tfinal : {0, 1, 7, 30})
      for (int64_t deltaT : {1, 2, 3, 10, 25}) {
        const train::RankSchedule schedule{100, 10, tinit, tfinal, deltaT, 40};
        const std::vector<int64_t> steps = walked(schedule);
        EXPECT_EQ(allocations(schedule), int64_t(steps.size()))
            << tinit << " " << tfinal << " " << deltaT;
        EXPECT_EQ(allocationSteps(schedule, 100), steps);
      }
}

TEST(ExplanationTest, ManyAllocationsAreThinned) {
  const train::RankSchedule schedule{100, 10, 50, 1000, 3, 1000000000};
  const std::vector<int64_t> steps = allocationSteps(schedule, 24);
  ASSERT_EQ(steps.size(), 24u);
  EXPECT_EQ(steps.front(), 51);
  EXPECT_EQ(steps.back(), schedule.finalStep());
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_TRUE(schedule.allocates(steps[i])) << steps[i];
    EXPECT_TRUE(i == 0 || steps[i] > steps[i - 1]);
  }
}

TEST(ExplanationTest, ScalesFarFromLorasHabitAreTold) {
  auto warned = [](std::vector<std::string> sets) {
    const Project project = load("tiny_adalora", std::move(sets));
    dsl::Diagnostics diags;
    warnOfScales(project, diags);
    return diags.text();
  };
  EXPECT_EQ(warned({}), "");
  // The bounds themselves are not far: PEFT's own defaults are 8 / 12.
  EXPECT_EQ(warned({"adapter.lora_alpha=12"}), "");
  EXPECT_EQ(warned({"adapter.lora_alpha=96"}), "");
  const std::string small = warned({"adapter.adalora.init_r=64", "adapter.lora_alpha=16"});
  EXPECT_THAT(small, HasSubstr("lora_alpha / init_r = 16 / 64 = 0.25"));
  EXPECT_THAT(small, HasSubstr("lora_alpha = 64 gives 1, 128 gives 2"));
  EXPECT_THAT(small, HasSubstr("--set adapter.lora_alpha=16"));
  EXPECT_THAT(warned({"adapter.lora_alpha=97"}), HasSubstr("97 / 24 = 4.042"));
}

TEST(ExplanationTest, OfLoraNoScaleIsTold) {
  const Project project = load("tiny_lora", {"adapter.lora_alpha=0.5"});
  dsl::Diagnostics diags;
  warnOfScales(project, diags);
  EXPECT_EQ(diags.text(), "");
}

} // namespace
