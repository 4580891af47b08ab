// What a device does of AdaLoRA between a model's programs, against the host's code, bit for
// bit: on random numbers, at odd ranks and sizes, with a module that has none left and one with
// more triplets than a block threads.

#include "compiler/passes/Passes.h"
#include "compiler/pipeline/CudaTarget.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/abi.h"
#include "runtime/train/ranks/TripletParams.h"
#include "tests/numerics/cuda/DeviceKernels.h"
#include "tests/numerics/interpreter/Support.h"
#include "tests/numerics/program/OneOp.h"
#include "tests/unit/train/ImportanceReference.h"

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;
using namespace lorac::test;
using train::TripletLayout;

namespace {

using Floats = std::vector<float>;

struct Shape {
  int64_t rank, in, out;
};
const std::vector<Shape> shapes = {{1, 20, 37}, {3, 33, 1},   {5, 7, 130},  {0, 16, 16},
                                   {8, 64, 64}, {13, 96, 50}, {24, 65, 71}, {600, 3, 4}};

std::string moduleText() {
  std::string params;
  for (size_t m = 0; m < shapes.size(); ++m) {
    const auto [rank, in, out] = shapes[m];
    params += fmt::format("lora.adapter @m{0} of @w{0} rank {1} scale 1.0\n", m, rank);
    if (rank == 0)
      continue;
    params += fmt::format("lora.param @m{0}.lora_A lora_A of @m{0} : tensor<{1}x{2}xf32>\n"
                          "lora.param @m{0}.lora_B lora_B of @m{0} : tensor<{3}x{1}xf32>\n"
                          "lora.param @m{0}.lora_E lora_E of @m{0} : tensor<{1}x1xf32>\n",
                          m, rank, in, out);
  }
  return "module {\n" + params + "}\n";
}

class Triplets : public testing::Test {
protected:
  void SetUp() override {
    if (std::string why = whatIsMissing(); !why.empty())
      GTEST_SKIP() << why;
    plan({.device = "cuda"});
  }
  void plan(const AppendUpdateOptions &update) {
    DialectRegistry registry;
    registerCudaDialects(registry);
    planned.context.appendDialectRegistry(registry);
    planned.context.loadAllAvailableDialects();
    PassManager pm(&planned.context);
    pm.addPass(createAppendUpdate(update));
    pm.addPass(createAppendTriplets());
    PlanMemoryOptions memory;
    memory.alignment = 256;
    pm.addPass(createPlanMemory(memory));
    ASSERT_TRUE(succeeded(pm.run(*planned.module)));
    kernels.compile(*planned.module);
    ASSERT_FALSE(kernels.empty());

    int32_t unfolded = 0, first = 0;
    std::vector<LoracTriplets> table;
    for (size_t m = 0; m < shapes.size(); ++m) {
      const auto [rank, in, out] = shapes[m];
      auto offset = [&](const char *factor) {
        auto param = planned.module->lookupSymbol<ParamOp>(fmt::format("m{}.{}", m, factor));
        return param ? int64_t(*param.getOffset()) : 0;
      };
      TripletLayout at{offset("lora_A"), offset("lora_B"), offset("lora_E"), rank, in, out};
      layouts.push_back(rank ? at : TripletLayout());
      table.push_back({int32_t(at.a), int32_t(at.b), int32_t(at.e), int32_t(rank), int32_t(in),
                       int32_t(out), unfolded, first});
      unfolded += int32_t(out * rank), first += int32_t(rank);
    }
    triplets = first;
    for (LaunchOp launch : launches())
      for (Value buffer : launch.getBuffers()) {
        if (auto op = buffer.getDefiningOp<BufferOp>()) // else a slice of one
          places[op.getLabel().str()] = op.getOffset();
      }
    arena = Simulator::get().allocate(findOnly<ArenaOp>(*planned.module).getBytes());
    put("triplets", table);
    std::vector<int32_t> spans;
    for (auto param : planned.module->getOps<ParamOp>())
      spans.insert(spans.end(), {int32_t(*param.getOffset()), int32_t(param.count()), 0, 0});
    put("update_spans", spans);
    floats = planned.module->lookupSymbol<RegionOp>("params").getCount();
  }
  void TearDown() override {
    if (arena)
      Simulator::get().free(arena);
  }

  std::vector<LaunchOp> launches(StringRef program = "") {
    std::vector<LaunchOp> all;
    planned.module->walk([&](LaunchOp launch) {
      if (program.empty() || launch->getParentOfType<ProgramOp>().getName() == program)
        all.push_back(launch);
    });
    return all;
  }
  void run(StringRef program) {
    for (LaunchOp launch : launches(program)) {
      std::vector<Simulator::Pointer> pointers;
      for (Value buffer : launch.getBuffers())
        pointers.push_back(arena + uint64_t(buffer.getDefiningOp<BufferOp>().getOffset()));
      kernels.launch(launch, pointers, /*step=*/0);
    }
    Simulator::get().finish();
  }
  template <typename T>
  void put(const std::string &place, const std::vector<T> &values) {
    Simulator::get().upload(arena + uint64_t(places.at(place)), values.data(),
                            sizeof(T) * values.size());
  }
  template <typename T = float>
  std::vector<T> get(const std::string &place, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    Simulator::get().download(values.data(), arena + uint64_t(places.at(place)),
                              sizeof(T) * values.size());
    return values;
  }
  /// Triplets of each state in turn: those that died, and those that are masked.
  std::pair<train::TripletSets, train::TripletSets> putStates() {
    std::vector<int32_t> states;
    train::TripletSets died, masked;
    for (const TripletLayout &at : layouts) {
      died.emplace_back(), masked.emplace_back();
      for (int32_t i = 0; i < at.rank; ++i) {
        states.push_back((i + int32_t(states.size())) % 3);
        if (states.back() == LORAC_TRIPLET_DEAD)
          died.back().push_back(i);
        if (states.back() == LORAC_TRIPLET_MASKED)
          masked.back().push_back(i);
      }
    }
    put("triplet_states", states);
    return {died, masked};
  }
  Floats random(unsigned seed, double scale = 1) const {
    reference::HostTensor drawn = randomTensor({floats}, seed, scale);
    return {drawn.data.begin(), drawn.data.end()};
  }
  /// Each number of B with its triplet's place in E.
  template <typename Body>
  void overB(Body body) const {
    for (const TripletLayout &at : layouts)
      for (int64_t i = 0; i < at.out * at.rank; ++i)
        body(size_t(at.b + i), size_t(at.e + i % at.rank));
  }

  Program planned{moduleText()};
  DeviceKernels kernels;
  std::map<std::string, int64_t> places;
  Simulator::Pointer arena = 0;
  std::vector<TripletLayout> layouts;
  int64_t triplets = 0, floats = 0;
  train::ThreadPool pool{1};
};

// B·diag(E) takes B's place, and goes; nothing else changes.
TEST_F(Triplets, FoldAndUnfold) {
  const Floats params = random(1);
  put("params", params);
  run("fold");
  Floats wanted = params;
  overB([&](size_t b, size_t e) { wanted[b] *= params[e]; });
  EXPECT_EQ(get("params", floats), wanted);
  run("unfold");
  EXPECT_EQ(get("params", floats), params);
}

TEST_F(Triplets, GradientsOfBAndE) {
  const Floats params = random(1), before = random(2);
  put("params", params), put("grads", before);
  run("unfold_grads");
  Floats wanted = before;
  std::map<size_t, double> sums; // dE, in the order that the CPU has them in
  overB([&](size_t b, size_t e) {
    sums[e] += double(before[b]) * double(params[b]);
    wanted[b] = before[b] * params[e];
  });
  EXPECT_EQ(sums.size(), size_t(triplets));
  for (const auto &[e, sum] : sums)
    wanted[e] = float(sum);
  EXPECT_EQ(get("grads", floats), wanted);
}

// Two steps of the averages and the scores after them.
TEST_F(Triplets, ImportanceAndScores) {
  const train::test::Importance importance{0.85, 0.9};
  Floats sensitivity(static_cast<size_t>(floats)), uncertainty = sensitivity;
  put("sensitivity", sensitivity), put("uncertainty", uncertainty);
  for (unsigned step = 0; step < 2; ++step) {
    const Floats params = random(3 + step), grads = random(5 + step, 1e-3);
    put("params", params), put("grads", grads);
    put("importance", Floats{0.85f, float(1 - 0.85), 0.9f, float(1 - 0.9)});
    put("norm", Floats{0, 0, 0, 0.5f});
    run("importance");
    importance.update(layouts, params.data(), grads.data(), 0.5f, sensitivity.data(),
                      uncertainty.data());
    EXPECT_EQ(get("sensitivity", floats), sensitivity);
    EXPECT_EQ(get("uncertainty", floats), uncertainty);
  }
  put("sensitivity", sensitivity), put("uncertainty", uncertainty);
  run("scores");
  Floats wanted(static_cast<size_t>(triplets));
  train::scoreTriplets(pool, layouts, sensitivity.data(), uncertainty.data(), wanted.data());
  EXPECT_EQ(get("triplet_scores", triplets), wanted);
}

TEST_F(Triplets, Zeroing) {
  const std::vector<std::string> regions = {"params", "exp_avg", "exp_avg_sq", "sensitivity",
                                            "uncertainty"};
  const auto [died, masked] = putStates();
  std::map<std::string, Floats> before;
  for (unsigned r = 0; r < regions.size(); ++r)
    put(regions[r], before[regions[r]] = random(10 + r));
  run("zero_triplets");
  for (const std::string &region : regions) {
    Floats &wanted = before[region];
    train::zeroWhole(wanted.data(), layouts, died);
    if (region == "params")
      train::zeroE(wanted.data(), layouts, masked);
    EXPECT_EQ(get(region, floats), wanted) << region;
  }
}

// Of states in 8 bits, factors with 500 numbers have codes, the others float32 in a compact region.
class TripletsOf8bitStates : public Triplets {
protected:
  void SetUp() override {
    if (std::string why = whatIsMissing(); !why.empty())
      GTEST_SKIP() << why;
    plan({.optimizer = "adamw_8bit", .min8bitSize = 500, .device = "cuda"});
  }
};

TEST_F(TripletsOf8bitStates, Zeroing) {
  // Where each factor's numbers lie in the compact regions; the codes of the others.
  std::vector<int32_t> owns;
  std::map<int64_t, int64_t> compactOf; // by the factor's first number in whole regions
  int64_t compact = 0;
  for (auto param : planned.module->getOps<ParamOp>())
    if (param.count() < 500) {
      compactOf[int64_t(*param.getOffset())] = compact;
      compact += param.count();
    }
  ASSERT_GT(compact, 0);
  for (const TripletLayout &at : layouts)
    for (int64_t factor : {at.a, at.b, at.e})
      owns.push_back(at.rank > 0 && compactOf.count(factor) ? int32_t(compactOf[factor]) : -1);
  put("triplet_owns", owns);
  const auto [died, masked] = putStates();
  // What becomes of a number of whole regions: 1 where it dies.
  Floats dies(static_cast<size_t>(floats), 1.0f);
  train::zeroWhole(dies.data(), layouts, died);

  std::vector<uint8_t> codes(static_cast<size_t>(floats));
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = uint8_t(1 + i % 100);
  Floats own = random(7);
  own.resize(static_cast<size_t>(compact));
  for (const std::string state : {"exp_avg", "exp_avg_sq"})
    put(state, codes), put(state + "_compact", own);
  run("zero_triplets");

  for (const auto &[state, zero] :
       {std::pair<std::string, uint8_t>("exp_avg", 127), {"exp_avg_sq", 0}}) {
    std::vector<uint8_t> wanted = codes;
    Floats wantedOwn = own;
    for (auto param : planned.module->getOps<ParamOp>())
      for (int64_t i = 0; i < param.count(); ++i) {
        const auto at = size_t(*param.getOffset()) + size_t(i);
        if (dies[at] != 0)
          continue;
        if (param.count() < 500)
          wantedOwn[size_t(compactOf[int64_t(*param.getOffset())] + i)] = 0;
        else
          wanted[at] = zero;
      }
    EXPECT_NE(wanted, codes);
    EXPECT_EQ(get<uint8_t>(state, floats), wanted) << state;
    EXPECT_EQ(get(state + "_compact", compact), wantedOwn) << state;
  }
}

} // namespace
