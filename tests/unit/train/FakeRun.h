#pragma once
// A run without a model, a disk or a clock to wait for: its device computes what a test scripts,
// time passes where somebody waits. All between them is what a real run goes through.

#include "FakeTriplets.h"

#include "runtime/train/Clock.h"
#include "runtime/train/Payload.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lorac::train {

class FakeClock : public Clock {
public:
  double now() const override { return seconds; }
  void sleep(double more) override { seconds += more; }
  double seconds = 1000;
};

/// What a FakeDevice's programs answer, and what was asked of them.
struct Script {
  /// Of each row with a label.
  std::function<float(const LoracStep &)> trainLoss = [](const LoracStep &) { return 1.0f; };
  std::function<float()> heldOutLoss = [] { return 2.0f; };
  std::deque<float> norms; ///< of the next steps; then 0.5
  float orthogonality = 0;
  /// Of the stored triplets.
  std::function<float(int64_t triplet)> score = [](int64_t triplet) { return float(triplet % 7); };
  std::function<void(float *params, int64_t count)> update = [](float *params, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      params[i] += 0.125f;
  };
  std::function<void(Program)> meanwhile = [](Program) {}; ///< called as each program begins
  std::optional<Error> refusal;                            ///< of programs that take over
  uint64_t resident = 1000;

  std::vector<std::pair<Program, LoracStep>> ran;
  std::vector<std::vector<int32_t>> fed;         ///< ids
  std::vector<std::vector<float>> updateScalars; ///< by update
  int adopted = 0;

  int64_t count(Program program) const {
    return std::count_if(ran.begin(), ran.end(),
                         [program](const auto &one) { return one.first == program; });
  }
};

class FakeDevice : public Device {
public:
  FakeDevice(const Plan &plan, Script &script)
      : plan(plan), script(script), arena(size_t(plan.arenaBytes)) {
    hash = "weights";
  }

  Result<void> feed(const MicroBatch &batch) override {
    labels = batch.targets;
    script.fed.push_back(batch.ids);
    return {};
  }
  Result<void> run(Program program, const LoracStep &step) override {
    script.meanwhile(program);
    script.ran.emplace_back(program, step);
    if (program == Program::Train || program == Program::Loss)
      for (size_t row = 0; row < labels.size(); ++row)
        at<float>(plan.io.rowLoss)[row] = labels[row] < 0             ? 0
                                          : program == Program::Train ? script.trainLoss(step)
                                                                      : script.heldOutLoss();
    if (program == Program::Regularize)
      std::fill_n(at<float>(plan.io.orthogonality), 2 * plan.ranks->modules.size(),
                  script.orthogonality);
    if (program == Program::Norm) {
      at<LoracNorm>(plan.io.norm)->norm = script.norms.empty() ? 0.5f : script.norms.front();
      if (!script.norms.empty())
        script.norms.pop_front();
    }
    if (program == Program::Update) {
      const float *told = at<float>(plan.io.update);
      script.updateScalars.emplace_back(told, told + plan.updateScalars.floats);
      const PlanRegion &params = plan.region(RegionKind::Params);
      script.update(at<float>(params.offset), params.count);
    }
    for (int64_t i = 0; program == Program::Scores && i < plan.tripletCount(); ++i)
      at<float>(plan.io.tripletScores)[i] = script.score(i);
    return {};
  }
  Result<std::byte *> read(int64_t offset, int64_t) override { return at<std::byte>(offset); }
  Result<void> write(int64_t offset, const void *from, int64_t bytes) override {
    std::memmove(at<std::byte>(offset), from, size_t(bytes));
    return {};
  }
  Result<void> copy(int64_t to, int64_t from, int64_t bytes) override {
    return write(to, at<std::byte>(from), bytes);
  }
  /// What is trained becomes 0: nothing here depends on it.
  Result<void> adopt(const Payload &, const Plan &next,
                     const std::vector<TripletTensor> *) override {
    if (script.refusal)
      return *script.refusal;
    arena.assign(size_t(next.arenaBytes), std::byte());
    ++script.adopted;
    return {};
  }
  MemoryUse memory() const override {
    return {false, uint64_t(plan.arenaBytes), 2000, script.resident, {}};
  }

private:
  template <typename T>
  T *at(int64_t offset) {
    return reinterpret_cast<T *>(arena.data() + offset);
  }

  const Plan &plan;
  Script &script;
  std::vector<std::byte> arena;
  std::vector<int32_t> labels;
};

/// A run's folder on a disk that is full, or fails, as often as a test says.
struct FailingFolder : RunFolder {
  explicit FailingFolder(RunFolder real) : RunFolder(std::move(real)) {}
  std::optional<uint64_t> freeSpace() const override { return free; }
  Result<void> save(const RunState &run, TrainerState &state, int64_t limit) override {
    ++saves, lastLimit = limit;
    return failedSaves-- > 0 ? noSpace() : RunFolder::save(run, state, limit);
  }
  Result<void> publish(const formats::Adapter &adapter,
                       const std::map<std::string, std::string> &texts) override {
    ++publishes;
    return failedPublishes-- > 0 ? noSpace() : RunFolder::publish(adapter, texts);
  }
  static Error noSpace() { return {"cannot write 'f': No space left on device"}; }

  std::optional<uint64_t> free;             ///< nothing: it cannot be told
  int failedSaves = 0, failedPublishes = 0; ///< so many of the next ones
  int saves = 0, publishes = 0;             ///< tried
  int64_t lastLimit = -1;
};

/// Rows of four tokens; those of `blank` have no label. A batch is two rows, in their order.
inline Corpus fakeCorpus(uint32_t rows, const std::vector<uint32_t> &blank = {}) {
  Corpus corpus;
  corpus.batchRows = 2;
  corpus.hash = "data";
  for (uint32_t row = 0; row < rows; ++row) {
    const bool isBlank = std::find(blank.begin(), blank.end(), row) != blank.end();
    corpus.pieces.push_back({corpus.ids.size(), 4, row});
    corpus.train.push_back(row);
    for (int32_t i = 0; i < 4; ++i) {
      corpus.ids.push_back(int32_t(row + uint32_t(i)) % 8);
      corpus.targets.push_back(isBlank || i == 3 ? -100 : 1);
    }
  }
  corpus.samples = rows;
  return corpus;
}

/// A session over a FakeDevice, and a folder of its own. `config` is run.json until it is opened.
class FakeRun : public testing::Test {
protected:
  void SetUp() override {
    const testing::TestInfo &test = *testing::UnitTest::GetInstance()->current_test_info();
    folder =
        std::filesystem::path(testing::TempDir()) /
        (std::string(test.test_suite_name()) + "." + test.name() + "." + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    out = (folder / "out").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// In place of LoRA's, with a plan of 16 triplets in each of two modules; `keys` beside those
  /// that no test asks for.
  void makeAdaLora(const Json &keys) {
    planJson = tripletPlanJson({mostTriplets, mostTriplets});
    Json &adapter = config["adapter"];
    adapter.erase("r");
    adapter["method"] = "adalora";
    adapter["adalora"] = {{"target_r", 8}, {"rebuild", "auto"}};
    adapter["adalora"].update(keys);
  }
  /// Failures are the test's.
  std::unique_ptr<Session> open(Script &script) {
    const std::string path = (folder / "first.program").string();
    EXPECT_TRUE(writeProgram({{"plan.json", planJson}, {"run.json", config.dump()}}, path));
    payload = *Payload::read(path);
    Result<RunConfig> run = parseRunConfig(config.dump());
    EXPECT_TRUE(run) << run.error().message;
    SessionOptions options{"", 1};
    options.device = [&script](const BackendInput &input) -> Result<std::unique_ptr<Device>> {
      return std::unique_ptr<Device>(new FakeDevice(input.plan, script));
    };
    auto opened = Session::open(payload, *run, options, [](const std::string &) {});
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }

  /// The folder of a run, which this process holds for good: one that goes on is in a copy.
  FailingFolder openFolder(RunStart start) {
    namespace fs = std::filesystem;
    if (fs::exists(out)) {
      fs::rename(out, out + ".old");
      fs::copy(out + ".old", out, fs::copy_options::recursive);
      fs::remove_all(out + ".old");
    }
    Result<RunFolder> opened = RunFolder::open(out, start);
    EXPECT_TRUE(opened) << opened.error().message;
    return FailingFolder(std::move(*opened));
  }
  /// What `work` says on stderr.
  static std::string said(const std::function<void()> &work) {
    testing::internal::CaptureStderr();
    work();
    return testing::internal::GetCapturedStderr();
  }

  std::filesystem::path folder;
  std::string out;
  std::string planJson = fakePlanJson();
  Json config = Json::parse(R"({"spec": "fake", "spec_dir": "/", "model": {},
      "quantization": {"format": "none", "block_size": 64, "double_quant": true, "compute_dtype": "auto"},
      "adapter": {"method": "lora", "r": 1, "lora_alpha": 2, "lora_dropout": 0, "use_rslora": false,
                  "target_modules": "all-linear"},
      "optimizer": {"name": "adamw", "learning_rate": 0.25, "betas": [0.9, 0.999], "eps": 1e-8,
                    "weight_decay": 0.01, "max_grad_norm": 1.0},
      "schedule": {"name": "constant", "warmup_steps": 0},
      "data": [{"name": "toy", "path": ["toy.safetensors"], "format": "tokens", "separator": "",
                "eval_fraction": 0, "overlong": "split"}],
      "train": {"output_dir": "out", "steps": 8, "batch_size": 2, "max_length": 8, "packing": false,
                "gradient_accumulation_steps": 2, "seed": 7, "eval_steps": 0, "save_steps": 0,
                "save_total_limit": 0, "logging_steps": 1},
      "target": {"device": "cpu", "threads": 1}})");
  Payload payload;
  FakeClock clock;
};

} // namespace lorac::train
