// Plans under a memory limit: what is the least, that the limit is met, and how much is tried for
// it.

#include "compiler/pipeline/Pipeline.h"
#include "compiler/tools/Project.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lorac {
namespace {

constexpr uint64_t MiB = uint64_t(1) << 20, GiB = uint64_t(1) << 30;

struct Planning {
  tools::Project project;
  CompileRequest request;

  Planning(const char *spec, std::vector<std::string> sets, bool isCuda) {
    tools::SpecInput input{std::string(LORAC_SOURCE_DIR) + "/" + spec, std::move(sets)};
    EXPECT_EQ(tools::loadProject(input, project), Exit::Done);
    request.spec = &project.spec;
    request.model = &project.model;
    request.adapters = project.adapters;
    request.ranks = project.ranks;
    request.cpu = "x86-64-v3";
    if (isCuda)
      request.cudaArchs = {"sm_90a"};
    request.kernels = request.dumps = false;
    request.workers = isCuda ? 0 : 2;
  }

  CompileResult run() {
    auto result = compile(request, [](const std::string &, const std::string &,
                                      const std::string &message) { ADD_FAILURE() << message; });
    EXPECT_TRUE(llvm::succeeded(result));
    return std::move(*result);
  }
  CompileResult least() {
    request.onlyLeast = true;
    CompileResult result = run();
    request.onlyLeast = false;
    return result;
  }
};

Planning llama8b(int layers, const std::string &memory) {
  return {"tests/cuda/llama3_8b.toml",
          {"model.shape.layers=" + std::to_string(layers), "train.batch_size=1",
           "train.max_length=4096", "target.memory=\"" + memory + "\""},
          true};
}

// What a plan of more layers has more of: their weights and adapters, and one value a token.
TEST(MemoryLimit, ALayerKeepsItsInput) {
  for (bool isCuda : {false, true}) {
    auto least = [&](int layers) {
      Planning plan("specs/tiny_qlora.toml",
                    {"model.shape.layers=" + std::to_string(layers), "train.batch_size=8",
                     "train.max_length=64", "target.memory=\"1 KiB\"",
                     "adapter.target_modules=\"all-linear\""},
                    isCuda);
      CompileResult result = plan.run();
      EXPECT_FALSE(result.fits);
      EXPECT_EQ(result.needed, plan.least().needed);
      auto arena = nlohmann::json::parse(result.files.at("plan.json")).at("arena");
      return arena.at("bytes").get<int64_t>() - arena.at("persistent").get<int64_t>();
    };
    const int64_t input = 8 * 64 * 64 * (isCuda ? 2 : 4), four = least(8) - least(4);
    EXPECT_GE(four, 4 * input);
    EXPECT_LE(four, 4 * input + input / 4);
  }
}

TEST(MemoryLimit, IsMetToTheByte) {
  for (const char *spec :
       {"specs/tiny_lora.toml", "specs/tiny_qlora.toml", "specs/tiny_adalora.toml"})
    for (bool isCuda : {false, true}) {
      std::vector<std::string> sets{"train.batch_size=16", "train.max_length=64",
                                    "adapter.lora_dropout=0.1"};
      Planning plan(spec, sets, isCuda);
      const uint64_t most = plan.run().needed, least = plan.least().needed;
      ASSERT_LT(least, most);
      for (int tenth = 0; tenth <= 10; ++tenth) {
        const uint64_t limit = least + (most - least) * uint64_t(tenth) / 10;
        std::vector<std::string> limited = sets;
        limited.push_back("target.memory=" + std::to_string(limit));
        CompileResult result = Planning(spec, limited, isCuda).run();
        EXPECT_TRUE(result.fits) << spec << " " << tenth;
        EXPECT_LE(result.needed, limit) << spec << " " << tenth;
      }
    }
}

TEST(MemoryLimit, LargeModels) {
  CompileResult small = llama8b(32, "9.5 GiB").run();
  EXPECT_TRUE(small.fits);
  EXPECT_LE(small.needed, 9 * GiB + 512 * MiB);
  Planning large("tests/cuda/llama3_70b.toml", {"target.memory=\"50 GiB\""}, true);
  CompileResult big = large.run();
  EXPECT_TRUE(big.fits);
  EXPECT_LE(big.needed, 50 * GiB);
}

// A choice is found by halving, whatever the number of layers.
TEST(MemoryLimit, TriesFewSteps) {
  for (int layers : {4, 16, 48})
    for (const char *memory : {"1 MiB", "9 GiB", "12 GiB", "16 GiB"}) {
      CompileResult result = llama8b(layers, memory).run();
      EXPECT_LE(result.plans, 5) << layers << " layers in " << memory;
      EXPECT_LE(result.simulations, 40 * result.plans) << layers << " layers in " << memory;
    }
}

} // namespace
} // namespace lorac
