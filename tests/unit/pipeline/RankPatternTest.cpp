// An AdaLoRA program at other ranks is LoRA's at these ranks: 50-planned of the one, recompiled
// from its base, equals that of a LoRA spec whose rules give the same ranks and the same scale,
// launch by launch and byte by byte, but for what is AdaLoRA's own: the function marked `adalora`,
// lora_E, and the regions of importance and of the unfolded B.

#include "compiler/pipeline/Pipeline.h"
#include "compiler/tools/Project.h"

#include "runtime/abi.h"
#include "runtime/train/Plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <unistd.h>

namespace lorac {
namespace {

namespace fs = std::filesystem;

constexpr int64_t initRank = 24;
constexpr double alpha = 16;

/// Stacked and single factors, odd ranks, what was not cut at all, a rank 0 beside others, and a
/// whole layer without one.
const std::map<std::string, int64_t> pattern = {
    {"model.layers.0.self_attn.q_proj", 8},  {"model.layers.0.self_attn.k_proj", 0},
    {"model.layers.0.self_attn.v_proj", 16}, {"model.layers.0.self_attn.o_proj", 3},
    {"model.layers.0.mlp.gate_proj", 24},    {"model.layers.0.mlp.up_proj", 8},
    {"model.layers.0.mlp.down_proj", 1},     {"model.layers.1.self_attn.q_proj", 0},
    {"model.layers.1.self_attn.k_proj", 0},  {"model.layers.1.self_attn.v_proj", 0},
    {"model.layers.1.self_attn.o_proj", 0},  {"model.layers.1.mlp.gate_proj", 0},
    {"model.layers.1.mlp.up_proj", 0},       {"model.layers.1.mlp.down_proj", 0},
    {"model.layers.2.self_attn.q_proj", 0},  {"model.layers.2.self_attn.k_proj", 5},
    {"model.layers.2.self_attn.v_proj", 0},  {"model.layers.2.self_attn.o_proj", 0},
    {"model.layers.2.mlp.gate_proj", 16},    {"model.layers.2.mlp.up_proj", 0},
    {"model.layers.2.mlp.down_proj", 24}};

/// The spec's lora_alpha for which alpha / r is AdaLoRA's scale to the last bit.
double alphaOf(int64_t rank) {
  const double scale = alpha / (double(initRank) + 1e-5), near = scale * double(rank);
  for (double candidate : {near, std::nextafter(near, 0), std::nextafter(near, INFINITY)})
    if (candidate / double(rank) == scale)
      return candidate;
  ADD_FAILURE() << "no alpha for rank " << rank;
  return near;
}

std::string spec(const std::string &adapter) {
  return "[model]\narchitecture = \"llama\"\nshape = { layers = 3, hidden_size = 64, "
         "intermediate_size = 176, n_heads = 4, n_kv_heads = 2, head_dim = 16, vocab_size = 512, "
         "rms_norm_eps = 1e-5, max_position_embeddings = 256 }\n[adapter]\n"
         "target_modules = \"all-linear\"\n" +
         adapter +
         "[[data]]\npath = \"" LORAC_SOURCE_DIR
         "/specs/data/tiny_tokens.safetensors\"\nformat = \"tokens\"\n[train]\nsteps = "
         "80\nbatch_size = 4\nmax_length = 32\n";
}

/// The parts of a planned module, as text: offsets are cut out, those of local places stand from
/// where all lasting places end.
struct Planned {
  std::vector<std::string> params, stacks;
  std::map<std::string, std::string> kernels;                ///< by name
  std::map<std::string, std::vector<std::string>> functions; ///< by name
  nlohmann::json plan;

  int64_t number(const char *key) const { return plan.at("arena").at(key).get<int64_t>(); }

  explicit Planned(const CompileResult &result)
      : plan(nlohmann::json::parse(result.files.at("plan.json"))) {
    const std::string &text = result.files.at("50-planned.mlir");
    std::smatch found;
    EXPECT_TRUE(
        std::regex_search(text, found, std::regex("lora\\.arena bytes (\\d+) persistent (\\d+)")));
    bytes = std::stoll(found[1]), persistent = std::stoll(found[2]);
    std::istringstream lines(text);
    std::vector<std::string> *function = nullptr;
    std::string *kernel = nullptr;
    for (std::string line; std::getline(lines, line);) {
      line = std::regex_replace(line, std::regex(" loc\\(.*?\\)"), "");
      if (std::regex_search(line, found, std::regex("^  lora\\.program \\w+ @(\\w+)"))) {
        function = &functions[found[1]];
      } else if (line == "  }") {
        function = nullptr, kernel = nullptr;
      } else if (function) {
        function->push_back(withoutOffset(line));
      } else if (std::regex_search(line, found, std::regex("^  lora\\.kernel @([^ ]+)"))) {
        kernel = &kernels[found[1]];
        *kernel = line;
      } else if (line.starts_with("  lora.param")) {
        params.push_back(std::regex_replace(line, std::regex("offset = \\d+"), "offset"));
      } else if (line.starts_with("  lora.stack")) {
        stacks.push_back(line);
      } else if (kernel && line.starts_with("   ")) {
        *kernel += line;
      }
    }
  }

  int64_t persistent = 0, bytes = 0;

private:
  std::string withoutOffset(const std::string &line) const {
    std::smatch found;
    if (!std::regex_search(line, found, std::regex("= lora\\.buffer (\\w+) .* at (\\d+)")))
      return line;
    const std::string at =
        found[1] == "local" ? std::to_string(std::stoll(found[2]) - persistent) : "its place";
    return line.substr(0, size_t(found.position(2))) + at +
           line.substr(size_t(found.position(2) + found.length(2)));
  }
};

class RankPattern : public testing::TestWithParam<const char *> {
protected:
  const fs::path root = fs::temp_directory_path() / fmt::format("lorac-pattern-{}", getpid());
  void TearDown() override { fs::remove_all(root); }

  /// A spec as far as 50-planned; of AdaLoRA, at the ranks of `pattern`.
  Planned planned(const std::string &folder, const std::string &toml) {
    fs::create_directories(root / folder);
    const fs::path path = root / folder / "plan.toml"; // names of values come from the file's
    std::ofstream(path) << toml;
    tools::Project project;
    tools::SpecInput input;
    input.path = path.string();
    EXPECT_EQ(tools::loadProject(input, project), Exit::Done) << toml;
    CompileRequest request;
    request.spec = &project.spec;
    request.model = &project.model;
    request.adapters = project.adapters;
    request.ranks = project.ranks;
    request.cpu = "x86-64-v3";
    if (GetParam() == std::string("cuda"))
      request.cudaArchs = {"sm_80"};
    request.kernels = false;
    auto tell = [](const std::string &severity, const std::string &place,
                   const std::string &message) {
      if (severity == "error")
        ADD_FAILURE() << place << message;
    };
    auto first = compile(request, tell);
    EXPECT_TRUE(llvm::succeeded(first));
    if (!project.ranks)
      return Planned(*first);
    CompileRequest again;
    again.spec = &project.spec;
    again.base = first->base;
    again.rankPattern = pattern;
    again.cpu = request.cpu;
    again.cudaArchs = request.cudaArchs;
    again.kernels = false;
    auto second = compile(again, tell);
    EXPECT_TRUE(llvm::succeeded(second));
    return Planned(*second);
  }
};

TEST_P(RankPattern, IsLoRasProgram) {
  std::string rules;
  for (const auto &[module, rank] : pattern) {
    rules += fmt::format("[[adapter.rule]]\nmodules = \"{}\"\nr = {}\n", module, rank);
    if (rank > 0)
      rules += fmt::format("lora_alpha = {}\n", alphaOf(rank));
  }
  const Planned lora = planned("lora", spec("method = \"lora\"\nr = 8\n" + rules));
  const Planned adalora =
      planned("adalora",
              spec(fmt::format("method = \"adalora\"\nlora_alpha = {}\n[adapter.adalora]\ninit_r "
                               "= {}\ntarget_r = 4\ntinit = 5\ntfinal = 30\n",
                               alpha, initRank)));

  // Launch by launch, places by what they are for. The optimizer runs over one flat region, with E
  // in it.
  const bool onGpu = GetParam() == std::string("cuda");
  const std::set<std::string> own = {"regularize",   "importance", "fold",         "unfold",
                                     "unfold_grads", "scores",     "zero_triplets"};
  EXPECT_GT(lora.functions.at("train").size(), 100u);
  for (const auto &[name, lines] : lora.functions)
    if (name != "begin" && name != "norm" && name != "update") {
      EXPECT_EQ(adalora.functions.at(name), lines) << name;
    }
  for (const auto &[name, lines] : adalora.functions)
    EXPECT_NE(lora.functions.count(name), own.count(name)) << name;

  // Its other kernels are launched by its own programs alone.
  std::string ours;
  for (const auto &[name, lines] : adalora.functions)
    if (!own.count(name))
      for (const std::string &line : lines)
        ours += line + "\n";
  for (const auto &[name, text] : adalora.kernels) {
    const auto found = lora.kernels.find(name);
    if (found == lora.kernels.end()) {
      EXPECT_EQ(ours.find("@" + name + "("), std::string::npos) << name;
    } else if (name != "each_adamw") {
      EXPECT_EQ(text, found->second);
    }
  }
  for (const auto &[name, text] : lora.kernels)
    EXPECT_TRUE(adalora.kernels.count(name)) << name;

  // Parameters: A and B of what is left.
  std::vector<std::string> factors, e;
  for (const std::string &param : adalora.params)
    (param.find("lora_E.weight") == std::string::npos ? factors : e).push_back(param);
  EXPECT_EQ(factors, lora.params);
  EXPECT_EQ(factors.size(), 2 * e.size());
  EXPECT_EQ(adalora.stacks, lora.stacks);
  EXPECT_EQ(adalora.plan.at("weights"), lora.plan.at("weights"));

  EXPECT_EQ(adalora.bytes - adalora.persistent, lora.bytes - lora.persistent);
  if (onGpu)
    return;
  // Bytes: LoRA's, E beside A and B in each region of the parameters, AdaLoRA's own regions and
  // the norms that its term leaves.
  auto region = [](const Planned &of, const char *name) {
    for (const auto &region : of.plan.at("arena").at("regions"))
      if (region.at("name") == name)
        return region.at("count").get<int64_t>() * int64_t(sizeof(float));
    return int64_t(0);
  };
  int64_t ranks = 0;
  for (const auto &[module, rank] : pattern)
    ranks += rank;
  const int64_t ofE = ranks * int64_t(sizeof(float));
  int64_t more = 0;
  for (const char *name : {"params", "grads", "exp_avg", "exp_avg_sq"}) {
    EXPECT_EQ(region(adalora, name), region(lora, name) + ofE) << name;
    more += ofE;
  }
  for (const char *name : {"sensitivity", "uncertainty"}) {
    EXPECT_EQ(region(adalora, name), region(adalora, "params")) << name;
    more += region(adalora, name);
  }
  more += region(adalora, "unfolded");
  more += int64_t(2 * e.size() * sizeof(float));                           // norms
  more += int64_t(e.size() * sizeof(train::PlanSpan) + 2 * sizeof(float)); // spans, rates of E
  const auto modules = int64_t(adalora.plan.at("ranks").at("modules").size());
  more += modules * int64_t(sizeof(LoracTriplets)) + 2 * ofE; // where triplets lie; scores, states
  constexpr int64_t alignment = 64, places = 8 + 1 + 2 + 4;
  const int64_t found = adalora.persistent - lora.persistent;
  EXPECT_GE(found, more - places * alignment);
  EXPECT_LE(found, more + places * alignment);
  EXPECT_EQ(adalora.number("bytes"), adalora.bytes);
  EXPECT_EQ(adalora.number("scratch_bytes"), lora.number("scratch_bytes"));
}

INSTANTIATE_TEST_SUITE_P(Targets, RankPattern, testing::Values("cpu", "cuda"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
} // namespace lorac
