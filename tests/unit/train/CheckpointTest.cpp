// Checkpoints that were damaged, mixed or forged: never loaded, and the arena stays as it was.
#include "FakeTriplets.h"

#include "runtime/formats/Hash.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/JsonFields.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <sys/stat.h>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

const char *const files[] = {"adapter_config.json", "adapter_model.safetensors",
                             "optimizer.safetensors", "trainer_state.json"};

class CheckpointTest : public testing::Test {
protected:
  void SetUp() override {
    out = fs::path(testing::TempDir()) /
          ("checkpoint." +
           std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(out);
    Result<Plan> parsed = parsePlan(fakePlanJson());
    ASSERT_TRUE(parsed);
    plan = *parsed;
    Result<Arena> allocated = Arena::allocate(uint64_t(plan.arenaBytes), "test");
    ASSERT_TRUE(allocated);
    arena = std::move(*allocated);
    for (int64_t i = 0; i < plan.arenaBytes / 4; ++i)
      arena.at<float>(0)[i] = float(i) / 7;
    state.step = 10;
    state.updates = 9;
    state.totalSteps = 20;
    state.position = {1, 2};
    state.tokensSeen = 240;
    state.metricsBytes = 1000;
    state.firstLoss = 3.25;
    state.lastLoss = 0.1;
    state.evals = {{0, 3.5}, {10, 0.25}};
    folder = save();
  }
  void TearDown() override { fs::remove_all(out); }

  std::string save() {
    RunConfig run;
    run.r = 1;
    Result<StagedCheckpoint> staged =
        stageCheckpoint(out.string(), plan, trained(),
                        takeAdapter(plan, trained().params, run, "base"), state, identity);
    EXPECT_TRUE(staged && staged->folder.commit());
    return checkpointPath(out.string(), state.step);
  }
  std::string path(const std::string &name) const { return folder + "/" + name; }
  void write(const std::string &name, const std::string &bytes) {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  Result<TrainerState> read() { return readCheckpoint(folder, plan, trained(), identity); }
  TrainedFloats trained() const { return trainedIn(arena, plan); }
  std::string arenaBytes() const {
    return {arena.at<char>(0), arena.at<char>(0) + plan.arenaBytes};
  }
  /// It must be refused with these words, and nothing be loaded.
  void refused(const std::string &what, const std::string &words) {
    const std::string before = arenaBytes();
    Result<TrainerState> result = read();
    ASSERT_FALSE(result) << what;
    EXPECT_EQ(result.error().code, Exit::ForeignFile) << result.error().message;
    EXPECT_NE(result.error().message.find("'" + folder + "' is " + words), std::string::npos)
        << what << ": " << result.error().message;
    EXPECT_TRUE(arenaBytes() == before) << what;
  }
  /// Changes the state, and makes its hashes right again.
  void forge(const std::function<void(Json &)> &change) {
    Json json = Json::parse(fileBytes(path("trainer_state.json")));
    change(json);
    for (auto &[name, hash] : json["files"].items())
      hash = *formats::hashFile(path(name));
    json.erase("hash");
    json["hash"] = formats::hashHex(json.dump());
    write("trainer_state.json", json.dump(1) + "\n");
  }

  fs::path out;
  std::string folder;
  Plan plan;
  Arena arena;
  TrainerState state;
  RunIdentity identity{"cpu", "model", "data", {{"optimizer.name", "adamw"}}, 20, true};
};

TEST_F(CheckpointTest, ReadsWhatItWrote) {
  const std::string before = arenaBytes();
  for (const PlanRegion &region : plan.trained())
    std::fill_n(arena.at<float>(region.offset), region.count, 0.0f);
  Result<TrainerState> result = read();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(arenaBytes() == before);
  EXPECT_EQ(result->step, 10);
  EXPECT_EQ(result->updates, 9);
  EXPECT_EQ(result->position.epoch, 1);
  EXPECT_EQ(result->position.micro, 2);
  EXPECT_EQ(result->metricsBytes, 1000u);
  EXPECT_EQ(result->lastLoss, 0.1);
  EXPECT_EQ(result->evals, state.evals);
}

TEST_F(CheckpointTest, EveryFlippedByteIsFound) {
  for (const std::string name : files) {
    const std::string good = fileBytes(path(name));
    for (size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = char(bad[at] ^ (at % 2 ? 0x01 : 0x80));
      write(name, bad);
      refused(name + " at byte " + std::to_string(at), "corrupt: ");
    }
    write(name, good);
  }
  EXPECT_TRUE(read());
}

TEST_F(CheckpointTest, EveryTruncationIsFound) {
  for (const std::string name : files) {
    const std::string good = fileBytes(path(name));
    for (size_t size = 0; size + 1 < good.size();
         size += 3) { // the last byte of JSON is a line's end
      write(name, good.substr(0, size));
      refused(name + " cut at " + std::to_string(size), "corrupt: ");
    }
    write(name, good);
  }
}

TEST_F(CheckpointTest, MissingAndOtherFiles) {
  for (const std::string name : files) {
    fs::rename(path(name), path("aside"));
    refused("no " + name, "corrupt: ");
    // A pickle beside it is not looked at; a pipe does not hang.
    write("optimizer.pt", "\x80\x02}q");
    refused("a pickle instead of " + name, "corrupt: ");
    ASSERT_EQ(mkfifo(path(name).c_str(), 0600), 0);
    refused("a pipe as " + name, "corrupt: ");
    fs::remove(path(name));
    fs::create_directory(path(name));
    refused("a folder as " + name, "corrupt: ");
    fs::remove(path(name));
    fs::rename(path("aside"), path(name));
  }
  EXPECT_TRUE(read());
}

TEST_F(CheckpointTest, FilesOfAnotherCheckpoint) {
  state.step = 11;
  trained().find("exp_avg")[0] = 5;
  const std::string other = save();
  fs::copy_file(other + "/optimizer.safetensors", path("optimizer.safetensors"),
                fs::copy_options::overwrite_existing);
  refused("swapped", "corrupt: 'optimizer.safetensors' has hash ");
}

/// Weights are packed for the target, so that their hash would name the wrong culprit.
TEST_F(CheckpointTest, OfAnotherTargetIsRefusedByName) {
  identity.target = "cuda bf16";
  identity.model = "packed by rows";
  Result<TrainerState> other = read();
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Exit::Refused);
  EXPECT_NE(other.error().message.find("the target was cpu and is cuda bf16; resume with"),
            std::string::npos)
      << other.error().message;
  save();
  EXPECT_TRUE(read());
  forge([](Json &json) { json.erase("target"); }); // of a version that knew one target
  identity = {"cpu", "packed by rows", "data", {{"optimizer.name", "adamw"}}, 20, true};
  EXPECT_TRUE(read());
}

/// Of a version whose checkpoints are others: said by number, and not called damaged.
TEST_F(CheckpointTest, OfAnotherFormatIsRefusedByNumber) {
  const std::string good = fileBytes(path("trainer_state.json"));
  for (int64_t version : {0, 2, 1 << 30}) {
    forge([&](Json &json) { json["lorac_checkpoint"] = version; });
    const std::string before = arenaBytes();
    for (const Error &error : {read().error(), readCheckpointRanks(folder).error()}) {
      EXPECT_EQ(error.code, Exit::ForeignFile);
      EXPECT_FALSE(error.corrupt) << "an older one must not be taken in its place";
      EXPECT_EQ(error.message, "checkpoint '" + folder + "' has the format " +
                                   std::to_string(version) +
                                   ", this version reads format 1; resume with the lorac that "
                                   "wrote it, or --overwrite");
    }
    EXPECT_TRUE(arenaBytes() == before);
  }
  forge([](Json &json) { json.erase("lorac_checkpoint"); });
  refused("no format", "corrupt: 'trainer_state' has no 'lorac_checkpoint'");
  write("trainer_state.json", good);
  EXPECT_TRUE(read());
}

TEST_F(CheckpointTest, NumbersThatCannotBe) {
  const std::string good = fileBytes(path("trainer_state.json"));
  for (const auto &[key, value, words] : std::vector<std::tuple<const char *, Json, const char *>>{
           {"step", -1, "'trainer_state.step' is -1, outside of"},
           {"step", int64_t(1) << 60, "'trainer_state.step' is 1152921504606846976, outside of"},
           {"step", UINT64_MAX, "'trainer_state.step' is not an integer"},
           {"updates", 11, "'trainer_state.updates' is 11, outside of [0, 10]"},
           {"epoch", "1", "'trainer_state.epoch' is not an integer"},
           {"micro", -3, "'trainer_state.micro' is -3"},
           {"metrics_bytes", -1, "'trainer_state.metrics_bytes' is -1"},
           {"last_loss", nullptr, "'trainer_state.last_loss' is not a number"},
           {"evals", 3, "'trainer_state.evals' is not a list"},
           {"evals", Json::array({{1}}), "'trainer_state.evals[0]' is not [step, loss]"}}) {
    forge([&](Json &json) { json[key] = value; });
    refused(words, std::string("corrupt: ") + words);
    write("trainer_state.json", good);
  }
  forge([](Json &json) { json.erase("step"); });
  refused("no step", "corrupt: 'trainer_state' has no 'step'");
  write("trainer_state.json", std::string(100000, '['));
  refused("deep", "corrupt: trainer_state.json is not JSON");
}

TEST_F(CheckpointTest, TensorsThatDoNotFitAreNamed) {
  const std::vector<double> values(8, 0.5);
  std::string words = "of another model or adapter: ";
  const auto optimizer = [&](const std::vector<formats::TensorToWrite> &tensors,
                             const std::string &misfit) {
    ASSERT_TRUE(formats::writeSafetensors(path("optimizer.safetensors"), tensors));
    forge([](Json &) {});
    refused(misfit, words + misfit);
  };
  std::vector<formats::TensorToWrite> good;
  for (const PlanParam &param : plan.params)
    for (const char *moment : {"exp_avg.", "exp_avg_sq."})
      good.push_back({moment + param.name, formats::DType::F32, param.shape, values.data()});
  std::vector<formats::TensorToWrite> other = good;
  other.erase(other.begin());
  optimizer(other, "'exp_avg.bias.lora_A.weight' is missing");
  other = good;
  other[3].shape = {1, 4};
  optimizer(other, "'exp_avg_sq.bias.lora_B.weight' has another shape");
  other = good;
  other.push_back({"more", formats::DType::F32, {1}, values.data()});
  optimizer(other, "it has 5 tensors, the program 4");
  other = good;
  other[0].dtype = formats::DType::F64;
  words = "none that this program writes: ";
  optimizer(other, "'exp_avg.bias.lora_A.weight' is F64, expected F32");
}

/// A forger can hash what no run has written.
TEST_F(CheckpointTest, NumbersThatAreNoneAreNamed) {
  for (const auto &[file, tensor] :
       {std::pair("adapter_model.safetensors", "base_model.model.bias.lora_A.weight"),
        {"optimizer.safetensors", "exp_avg.bias.lora_A.weight"}}) {
    const std::string good = fileBytes(path(file));
    auto opened = formats::Safetensors::open(path(file));
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_TRUE(opened->find(tensor));
    std::string bad = good;
    const float none = NAN;
    std::memcpy(bad.data() + opened->find(tensor)->offset + 8, &none, sizeof none);
    write(file, bad);
    forge([](Json &) {});
    refused(file,
            std::string("corrupt: '") + file + "': '" + tensor + "' is nan at position 2 of 4");
    write(file, good);
    forge([](Json &) {});
    EXPECT_TRUE(read());
  }
}

/// The bytes of those that were written while AdamW was in the runtime.
TEST_F(CheckpointTest, HasTheBytesThatItAlwaysHad) {
  EXPECT_EQ(*formats::hashFile(path("optimizer.safetensors")), "9f79f6496fb7613d879b0f396de906be");

  Result<Plan> parsed = parsePlan(tripletPlanJson({3, 2}));
  ASSERT_TRUE(parsed) << parsed.error().message;
  plan = *parsed;
  arena = std::move(*Arena::allocate(uint64_t(plan.arenaBytes), "test"));
  const std::vector<PlanRegion> regions = plan.trained();
  ASSERT_EQ(regions.size(), 5u);
  for (size_t r = 0; r < regions.size(); ++r)
    for (int64_t i = 0; i < regions[r].count; ++i)
      arena.at<float>(regions[r].offset)[i] = float(1000 * r + size_t(i)) / 7;
  RunConfig run;
  run.r = 3;
  run.adalora.emplace();
  const TripletSets live = {{0, 1, 2}, {0, 1}};
  state.step = 12;
  Result<StagedCheckpoint> staged =
      stageCheckpoint(out.string(), plan, trained(),
                      takeAdapter(plan, trained().params, run, "base", &live), state, identity);
  ASSERT_TRUE(staged) << staged.error().message;
  ASSERT_TRUE(staged->folder.commit());
  folder = checkpointPath(out.string(), 12);
  EXPECT_EQ(*formats::hashFile(path("optimizer.safetensors")), "ee6a081c9f5cd86418b96cc641e1c63b");
}

/// States are named as the plan names them; those of another optimizer are refused as such.
TEST_F(CheckpointTest, OfAnotherOptimizerIsRefusedByName) {
  Json json = Json::parse(fakePlanJson());
  json["optimizer"]["name"] = "sgd";
  json["arena"]["regions"][2]["name"] = "momentum_buffer";
  json["arena"]["regions"].erase(3);
  Result<Plan> parsed = parsePlan(json.dump());
  ASSERT_TRUE(parsed) << parsed.error().message;
  plan = *parsed;
  identity.spec = {{"optimizer.name", "sgd"}};
  const std::string before = arenaBytes();
  Result<TrainerState> other = read();
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Exit::Refused);
  EXPECT_NE(other.error().message.find(
                "is of another run: 'optimizer.name' was adamw and is sgd; resume with"),
            std::string::npos)
      << other.error().message;
  EXPECT_TRUE(arenaBytes() == before);

  save();
  auto file = formats::Safetensors::open(path("optimizer.safetensors"));
  ASSERT_TRUE(file) << file.error().message;
  std::vector<std::string> names;
  for (const formats::TensorInfo &tensor : file->tensors())
    names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"momentum_buffer.bias.lora_A.weight",
                                             "momentum_buffer.bias.lora_B.weight"}));
  const PlanRegion region = plan.region("momentum_buffer");
  std::fill_n(arena.at<float>(region.offset), region.count, 0.0f);
  EXPECT_TRUE(read());
  EXPECT_TRUE(arenaBytes() == before);
}

} // namespace
} // namespace lorac::train
