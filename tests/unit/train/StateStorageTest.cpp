// States of 8 bits: where each parameter's lie, what a checkpoint has of them, and what becomes of
// them where ranks fall.
#include "FakeTriplets.h"

#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/Hash.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Session.h"
#include "runtime/train/StateStorage.h"
#include "runtime/train/Weights.h"
#include "runtime/train/ranks/Gather.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <unistd.h>

namespace lorac::train {
namespace {

/// FakeProgram's plan of two modules: 300 and 257 numbers in 8 bits, 4 and 3 as float32.
Json storedPlan() {
  Json plan = Json::parse(fakePlanJson());
  plan["params"] = Json::array();
  auto add = [&](const std::string &module, const char *group, Json shape, int64_t offset) {
    plan["params"].push_back({{"name", module + "." + group + ".weight"},
                              {"module", module},
                              {"group", group},
                              {"shape", std::move(shape)},
                              {"offset", offset},
                              {"rank", 1},
                              {"scale", 2.0}});
  };
  add("a", "lora_A", {1, 300}, 0);
  add("a", "lora_B", {4, 1}, 557);
  add("b", "lora_A", {1, 257}, 300);
  add("b", "lora_B", {3, 1}, 561);
  Json &arena = plan["arena"];
  arena["bytes"] = 32768;
  arena["regions"] = Json::array();
  int64_t end = 8192;
  auto region = [&](const char *name, const char *kind, int64_t count, const char *storage,
                    int64_t bytes) {
    arena["regions"].push_back({{"name", name}, {"kind", kind}, {"offset", end}, {"count", count}});
    if (storage)
      arena["regions"].back()["storage"] = storage;
    end += (count * bytes + 63) / 64 * 64;
  };
  region("params", "params", 564, nullptr, 4), region("grads", "grads", 564, nullptr, 4);
  region("exp_avg", "state", 564, "dynamic8_signed", 1);
  region("exp_avg_absmax", "state", 4, "absmax", 4);
  region("exp_avg_compact", "state", 7, "compact", 4);
  region("exp_avg_sq", "state", 564, "dynamic8_unsigned", 1);
  region("exp_avg_sq_absmax", "state", 4, "absmax", 4);
  region("exp_avg_sq_compact", "state", 7, "compact", 4);
  plan["optimizer"]["min_8bit_size"] = 256;
  plan["tables"] = {{{"kind", "dynamic8"}, {"offset", 4096}, {"positions", 2}, {"dim", 512}}};
  plan["io"]["update_spans"] = 832;
  Json &programs = plan["programs"]; // not for running: of float32
  for (const char *program : {"train", "hidden", "loss", "head"})
    programs[program] = Json::array();
  Json &update = programs["update"][0];
  for (const char *program : {"begin", "norm", "update"})
    programs[program][0]["args"][0] = 832;
  update["rows"] = {0, 4}, update["tiles"] = 4;
  return plan;
}

/// Numbers that differ in sign and size, with zeros between; none is negative of an unsigned state.
std::vector<float> numbers(size_t count, bool isSigned) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) {
    const float value = std::sin(float(i)) * std::exp2(float(i % 13) - 6) * float(i % 7 != 0);
    values.push_back(isSigned ? value : std::fabs(value));
  }
  return values;
}

/// A tensor as it comes back: each block of 256 quantized by itself.
std::vector<float> coarse(formats::Dynamic8 kind, std::vector<float> values) {
  for (size_t at = 0; at < values.size(); at += 256) {
    const size_t count = std::min<size_t>(256, values.size() - at);
    std::vector<uint8_t> codes(count);
    const float absmax =
        formats::quantizeDynamic(kind, std::span(values).subspan(at, count), codes.data());
    for (size_t i = 0; i < count; ++i)
      values[at + i] = formats::dynamicMap(kind)[codes[i]] * absmax;
  }
  return values;
}

class StateStorage : public testing::Test {
protected:
  void SetUp() override {
    Result<Plan> parsed = parsePlan(storedPlan().dump());
    ASSERT_TRUE(parsed) << parsed.error().message;
    plan = *parsed;
    Result<Arena> allocated = Arena::allocate(uint64_t(plan.arenaBytes), "test");
    ASSERT_TRUE(allocated);
    arena = std::move(*allocated);
  }
  const PlanRegion &state(const char *name) const { return plan.region(name); }

  Plan plan;
  Arena arena;
};

TEST_F(StateStorage, SpansOf8BitsComeFirst) {
  ASSERT_TRUE(plan.hasCodes());
  const std::vector<StatePlace> places = plan.statePlaces();
  ASSERT_EQ(places.size(), 4u);
  EXPECT_TRUE(places[0].in8bits && !places[1].in8bits && places[2].in8bits && !places[3].in8bits);
  EXPECT_EQ(places[0].own, 0);
  EXPECT_EQ(places[1].own, 0) << "of the compact region";
  EXPECT_EQ(places[2].own, 2) << "blocks begin anew at each tensor";
  EXPECT_EQ(places[3].own, 4);
  std::vector<std::vector<int32_t>> spans;
  for (const PlanSpan &span : plan.spans())
    spans.push_back({span.offset, span.count, span.group, span.own});
  EXPECT_EQ(spans, (std::vector<std::vector<int32_t>>{
                       {0, 300, 0, 0}, {300, 257, 0, 2}, {557, 4, 1, 0}, {561, 3, 1, 4}}));
  // A long one: 16 blocks a span.
  Plan longer = plan;
  longer.params[0].shape = {2, 4100};
  longer.params[1].shape = {200, 1};
  const std::vector<PlanSpan> cut = longer.spans();
  ASSERT_EQ(cut.size(), 6u);
  EXPECT_EQ(cut[1].offset, 4096);
  EXPECT_EQ(cut[1].own, 16);
  EXPECT_EQ(cut[2].own, 32);
  EXPECT_EQ(cut[2].count, 8);
  EXPECT_EQ(cut[3].own, 33);
  EXPECT_EQ(cut[5].own, 200);
}

TEST_F(StateStorage, TheTableHoldsBothMaps) {
  ASSERT_EQ(plan.tables.size(), 1u);
  std::vector<float> table(1024);
  fillTable(plan.tables[0], table.data());
  for (auto [kind, at] :
       {std::pair{formats::Dynamic8::Signed, 0}, {formats::Dynamic8::Unsigned, 512}}) {
    const formats::DynamicTable wanted = formats::dynamicTable(kind);
    EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), table.begin() + at));
  }
}

TEST_F(StateStorage, NumbersComeBackAsBlocksHaveThem) {
  const TrainedFloats trained = trainedIn(arena, plan);
  for (auto [name, kind] : {std::pair{"exp_avg", formats::Dynamic8::Signed},
                            {"exp_avg_sq", formats::Dynamic8::Unsigned}}) {
    SCOPED_TRACE(name);
    const std::vector<float> values = numbers(564, kind == formats::Dynamic8::Signed);
    encodeState(plan, state(name), values, trained);
    const std::vector<float> back = decodeState(plan, state(name), trained);
    ASSERT_EQ(back.size(), 564u);
    auto part = [](const std::vector<float> &of, int64_t begin, int64_t count) {
      return std::vector<float>(of.begin() + begin, of.begin() + begin + count);
    };
    EXPECT_EQ(part(back, 0, 300), coarse(kind, part(values, 0, 300)));
    EXPECT_EQ(part(back, 300, 257), coarse(kind, part(values, 300, 257)));
    EXPECT_EQ(part(back, 557, 7), part(values, 557, 7)) << "float32";
  }
}

TEST_F(StateStorage, TensorsOfACheckpoint) {
  const TrainedFloats trained = trainedIn(arena, plan);
  std::vector<std::string> seen;
  for (const StateTensor &tensor : stateTensors(plan, trained)) {
    std::string shape;
    for (int64_t n : tensor.shape)
      shape += " " + std::to_string(n);
    seen.push_back(tensor.name + (tensor.type == formats::DType::U8 ? " U8" : " F32") + shape);
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{
                "exp_avg.a.lora_A.weight U8 1 300", "exp_avg_absmax.a.lora_A.weight F32 2",
                "exp_avg_sq.a.lora_A.weight U8 1 300", "exp_avg_sq_absmax.a.lora_A.weight F32 2",
                "exp_avg.a.lora_B.weight F32 4 1", "exp_avg_sq.a.lora_B.weight F32 4 1",
                "exp_avg.b.lora_A.weight U8 1 257", "exp_avg_absmax.b.lora_A.weight F32 2",
                "exp_avg_sq.b.lora_A.weight U8 1 257", "exp_avg_sq_absmax.b.lora_A.weight F32 2",
                "exp_avg.b.lora_B.weight F32 3 1", "exp_avg_sq.b.lora_B.weight F32 3 1"}));
}

TEST_F(StateStorage, ACheckpointGivesTheSameBytes) {
  const TrainedFloats trained = trainedIn(arena, plan);
  const std::vector<float> params = numbers(564, true);
  std::copy(params.begin(), params.end(), trained.params);
  for (const char *name : {"exp_avg", "exp_avg_sq"})
    encodeState(plan, state(name), numbers(564, name == std::string("exp_avg")), trained);
  const std::filesystem::path out =
      std::filesystem::path(testing::TempDir()) / ("states." + std::to_string(getpid()));
  std::filesystem::remove_all(out);
  RunConfig run;
  run.r = 1;
  const RunIdentity identity{"cpu", "model", "data", {{"optimizer.name", "adamw_8bit"}}, 20, true};
  TrainerState state;
  state.step = 10, state.totalSteps = 20;
  Result<StagedCheckpoint> staged = stageCheckpoint(
      out.string(), plan, trained, takeAdapter(plan, trained.params, run, "base"), state, identity);
  ASSERT_TRUE(staged) << staged.error().message;
  ASSERT_TRUE(staged->folder.commit());
  const std::string before(arena.at<char>(0), size_t(plan.arenaBytes));
  for (const PlanRegion &region : plan.trained())
    std::fill_n(arena.at<char>(region.offset), region.bytes(), char(0));
  Result<TrainerState> read =
      readCheckpoint(checkpointPath(out.string(), 10), plan, trained, identity);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(before == std::string(arena.at<char>(0), size_t(plan.arenaBytes)));

  // An absmax that no block has is refused, though the hashes fit.
  const std::string folder = checkpointPath(out.string(), 10),
                    file = folder + "/optimizer.safetensors", said = folder + "/trainer_state.json";
  auto tensors = formats::Safetensors::open(file);
  ASSERT_TRUE(tensors) << tensors.error().message;
  const std::string name = "exp_avg_absmax.a.lora_A.weight", good = fileBytes(file);
  for (auto [value, shown] : {std::pair{-0.5f, "-0.5"}, {NAN, "nan"}, {-INFINITY, "-inf"}}) {
    std::string bad = good;
    std::memcpy(bad.data() + tensors->find(name)->offset + 4, &value, sizeof value);
    std::ofstream(file, std::ios::binary) << bad;
    Json json = Json::parse(fileBytes(said));
    json["files"]["optimizer.safetensors"] = *formats::hashFile(file);
    json.erase("hash");
    json["hash"] = formats::hashHex(json.dump());
    std::ofstream(said, std::ios::binary) << json.dump(1) << "\n";
    Result<TrainerState> refused = readCheckpoint(folder, plan, trained, identity);
    ASSERT_FALSE(refused) << shown;
    EXPECT_EQ(refused.error().code, Exit::ForeignFile);
    EXPECT_TRUE(refused.error().corrupt);
    EXPECT_NE(refused.error().message.find("corrupt: 'optimizer.safetensors': '" + name + "' is " +
                                           shown + " at position 1 of 2"),
              std::string::npos)
        << refused.error().message;
    EXPECT_TRUE(before == std::string(arena.at<char>(0), size_t(plan.arenaBytes)));
  }

  // NaN in an absmax is never saved.
  trained.find("exp_avg_absmax")[1] = NAN;
  Result<void> finite = requireFiniteState(plan, trained, "step 3");
  ASSERT_FALSE(finite);
  EXPECT_NE(finite.error().message.find("exp_avg_absmax.a.lora_A.weight"), std::string::npos)
      << finite.error().message;
  std::filesystem::remove_all(out);
}

TEST_F(StateStorage, PlansThatDoNotFitAreRefused) {
  struct Case {
    std::function<void(Json &)> change;
    const char *says;
  };
  auto region = [](Json &plan, int i) -> Json & { return plan["arena"]["regions"][i]; };
  const Case cases[] = {
      {[&](Json &plan) { region(plan, 3)["count"] = 3; }, "has no region 'exp_avg_absmax' of 4"},
      {[&](Json &plan) { region(plan, 4)["count"] = 3; }, "has no region 'exp_avg_compact' of 7"},
      {[&](Json &plan) { region(plan, 2)["count"] = 560; }, "has no region 'exp_avg' of 564"},
      {[&](Json &plan) { region(plan, 2)["storage"] = "int4"; }, "has the storage 'int4'"},
      {[&](Json &plan) { region(plan, 3)["name"] = "absmax"; },
       "has no region 'exp_avg_absmax' of 4"},
      {[&](Json &plan) { region(plan, 1)["storage"] = "compact"; }, "and it is no state"},
      {[&](Json &plan) { plan["optimizer"].erase("min_8bit_size"); }, "no 'min_8bit_size'"},
      {[&](Json &plan) { plan["optimizer"]["min_8bit_size"] = 258; },
       "has no region 'exp_avg_absmax' of 2"},
      {[&](Json &plan) { plan["tables"][0]["dim"] = 256; }, "both maps of 8-bit numbers"},
  };
  for (const Case &wrong : cases) {
    Json json = storedPlan();
    wrong.change(json);
    Result<Plan> parsed = parsePlan(json.dump());
    ASSERT_FALSE(parsed) << wrong.says;
    EXPECT_NE(parsed.error().message.find(wrong.says), std::string::npos) << parsed.error().message;
  }
}

/// AdaLoRA's, whose ranks fall from 16 to 5 and 2.
class StatesOfTriplets : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::path(testing::TempDir()) /
             ("triplets." + std::to_string(getpid()) + "." +
              testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder);
    payload = program({mostTriplets, mostTriplets});
    RunConfig run;
    auto opened = Session::open(payload, run, {"", 1}, [](const std::string &) {});
    ASSERT_TRUE(opened) << opened.error().message;
    session = std::move(*opened);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  Payload program(const RankPattern &ranks) {
    const std::string path = (folder / "a.program").string();
    EXPECT_TRUE(writeProgram({{"module.so", fileBytes(FAKE_MODULE)},
                              {"plan.json", tripletPlanJson(ranks, true)},
                              {"run.json", "{}"}},
                             path));
    return *Payload::read(path);
  }
  std::vector<float> numbersOf(const char *name) {
    const TrainedFloats trained = *session->backend->read();
    return decodeState(session->plan, session->plan.region(name), trained);
  }

  std::filesystem::path folder;
  Payload payload;
  std::unique_ptr<Session> session;
};

TEST_F(StatesOfTriplets, AreQuantizedAnewWhereRanksFall) {
  const size_t count = size_t(session->plan.region(RegionKind::Params).count);
  for (const char *name : {"exp_avg", "exp_avg_sq"})
    ASSERT_TRUE(session->edit([&](const TrainedFloats &trained) -> Result<void> {
      encodeState(session->plan, session->plan.region(name),
                  numbers(count, name == std::string("exp_avg")), trained);
      std::iota(trained.params, trained.params + count, 1.0f);
      return {};
    }));
  std::map<std::string, std::vector<float>> wanted;
  const TripletSets kept = {{0, 3, 4, 9, 15}, {2, 7}};
  const Payload next = program({5, 2});
  Result<Plan> nextPlan = parsePlan(next.file("plan.json"));
  ASSERT_TRUE(nextPlan) << nextPlan.error().message;
  const size_t left = size_t(nextPlan->region(RegionKind::Params).count);
  auto tensors =
      matchTensors(session->plan.params, nextPlan->params, session->plan.ranks->names(), kept);
  ASSERT_TRUE(tensors);
  for (const char *name : {"exp_avg", "exp_avg_sq"}) {
    std::vector<float> &values = wanted[name] = numbersOf(name);
    gatherTriplets(values.data(), int64_t(left), *tensors);
    values.resize(left);
    const auto kind =
        name == std::string("exp_avg") ? formats::Dynamic8::Signed : formats::Dynamic8::Unsigned;
    for (const PlanParam &param : nextPlan->params) {
      const auto begin = values.begin() + param.offset;
      if (param.part == AdapterPart::E)
        continue; // float32: its bits stay
      const std::vector<float> there =
          coarse(kind, std::vector<float>(begin, begin + param.count()));
      std::copy(there.begin(), there.end(), begin);
    }
  }
  Result<void> adopted = session->adopt(next, &kept);
  ASSERT_TRUE(adopted) << adopted.error().message;
  for (const char *name : {"exp_avg", "exp_avg_sq"})
    EXPECT_EQ(numbersOf(name), wanted[name]) << name;
  // A parameter beside them moved as ever: row 3 of m0's A is the second now.
  EXPECT_EQ(session->backend->read()->params[4], 3 * 4 + 1.0f);
}

} // namespace
} // namespace lorac::train
