// The executable with a payload, as a user runs it.
#include "TrainBinary.h"

#include <chrono>
#include <csignal>
#include <map>
#include <thread>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

TEST_F(TrainBinary, Trains) {
  Ended ended = run({});
  ASSERT_EQ(ended.code, 0) << ended.err;
  for (const char *name :
       {"adapter_config.json", "adapter_model.safetensors", "metrics.jsonl", "spec.toml",
        "README.md", "checkpoint-5", "checkpoint-10", "checkpoint-12"})
    EXPECT_TRUE(fs::exists(folder / "out" / name)) << name;
  std::vector<Json> lines = metrics();
  ASSERT_EQ(lines.size(), 12u);
  EXPECT_EQ(lines[0]["step"], 1);
  EXPECT_EQ(lines[0]["learning_rate"], 0.0) << "warm-up begins at 0";
  EXPECT_EQ(lines[1]["learning_rate"], 0.001);
  EXPECT_EQ(lines[2]["learning_rate/lora_B"], 0.002);
  EXPECT_EQ(lines[2]["num_input_tokens_seen"], 3 * 24);
  EXPECT_NEAR(lines[2]["epoch"].get<double>(), 2.0, 1e-9);
  EXPECT_LT(lines[11]["loss"].get<double>(), lines[0]["loss"].get<double>());
  EXPECT_TRUE(ended.out.empty()) << "words go to stderr";
  EXPECT_NE(ended.err.find("step 12/12"), std::string::npos);
  auto file = formats::Safetensors::open(out + "/adapter_model.safetensors");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->find("base_model.model.bias.lora_B.weight"));
}

TEST_F(TrainBinary, ThreadsMoveNoBit) {
  ASSERT_EQ(run({"--out", "one", "--threads", "1"}).code, 0);
  for (const char *threads : {"2", "3", "4"}) {
    ASSERT_EQ(run({"--out", threads, "--threads", threads}).code, 0);
    EXPECT_EQ(adapter("one"), adapter(threads));
  }
}

TEST_F(TrainBinary, NeverOverwritesInSilence) {
  ASSERT_EQ(run({"--steps", "3"}).code, 0);
  std::string before = adapter();
  Ended refused = run({"--steps", "4"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.err,
            "error: output folder 'out' holds a run; --resume goes on with it, --overwrite starts "
            "anew, --out names another folder\n");
  EXPECT_EQ(adapter(), before);
  Ended again = run({"--steps", "4", "--overwrite"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(adapter(), before);
  EXPECT_FALSE(fs::exists(folder / "out" / "checkpoint-3"));
  EXPECT_EQ(metrics().size(), 4u);
}

TEST_F(TrainBinary, KilledAnywhereAndResumedEndsInTheSameBytes) {
  build([](Json &json) { json["train"]["steps"] = 300; });
  ASSERT_EQ(run({"--out", "whole"}).code, 0);
  uint32_t random = 12345;
  int kills = 0;
  for (int attempt = 0; attempt < 40; ++attempt) {
    pid_t child = start({"--out", "cut", attempt ? "--resume" : "--overwrite"});
    random = random * 1664525u + 1013904223u;
    // Longer and longer, so that some die while they load and some late.
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + (random >> 16) % (20 + 8 * attempt)));
    kill(child, SIGKILL);
    Ended ended = wait(child);
    if (ended.code == 0)
      break;
    ASSERT_EQ(ended.code, 128 + SIGKILL) << ended.err;
    ++kills;
  }
  Ended last = run({"--out", "cut", "--resume"});
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_GT(kills, 0);
  for (const fs::directory_entry &entry : fs::directory_iterator(folder / "cut"))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  EXPECT_EQ(adapter("cut"), adapter("whole"));
  EXPECT_EQ(fileBytes((folder / "cut/checkpoint-300/optimizer.safetensors").string()),
            fileBytes((folder / "whole/checkpoint-300/optimizer.safetensors").string()));
  std::vector<Json> a = metrics("cut"), b = metrics("whole");
  ASSERT_EQ(a.size(), b.size()) << "no line twice, none lost";
  for (size_t i = 0; i < a.size(); ++i)
    for (const char *key :
         {"step", "loss", "grad_norm", "learning_rate", "epoch", "num_input_tokens_seen"})
      EXPECT_EQ(a[i][key], b[i][key]) << i << key;
}

TEST_F(TrainBinary, SignalsLeaveACheckpoint) {
  build([](Json &json) { json["train"]["steps"] = 1000000, json["train"]["save_steps"] = 0; });
  for (auto [signal, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}}) {
    fs::remove_all(out);
    pid_t child = start({});
    for (int i = 0; i < 3000 && fileBytes(out + "/metrics.jsonl").empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    Ended second = run({"--overwrite"});
    EXPECT_EQ(second.code, 2) << "two runs in one folder";
    EXPECT_NE(second.err.find("another run writes to the output folder 'out'"), std::string::npos);
    kill(child, signal);
    Ended ended = wait(child);
    EXPECT_EQ(ended.code, code) << ended.err;
    EXPECT_NE(ended.err.find("go on with: ./train --resume\n"), std::string::npos) << ended.err;
    EXPECT_FALSE(fs::exists(folder / "out" / "adapter_model.safetensors"));
    bool found = false;
    for (const fs::directory_entry &entry : fs::directory_iterator(folder / "out"))
      found |= entry.path().filename().string().rfind("checkpoint-", 0) == 0;
    EXPECT_TRUE(found);
  }
}

TEST_F(TrainBinary, ACheckpointOfAnotherRunIsRefusedByName) {
  ASSERT_EQ(run({}).code, 0);
  build([](Json &json) {
    json["optimizer"]["learning_rate"] = 0.01;
    json["train"]["seed"] = 8;
    json["train"]["save_steps"] = 3; // decides no number
  });
  Ended refused = run({"--resume"});
  EXPECT_EQ(refused.code, 3);
  for (const char *part : {"'optimizer.learning_rate' was 0.002 and is 0.01",
                           "'train.seed' was 7 and is 8", "the model's weights", "--overwrite"})
    EXPECT_NE(refused.err.find(part), std::string::npos) << part << "\n" << refused.err;
  EXPECT_EQ(refused.err.find("save_steps"), std::string::npos);
  build();
  Ended longer = run({"--resume", "--steps", "20"});
  EXPECT_EQ(longer.code, 3);
  EXPECT_NE(longer.err.find("the number of steps, on which the schedule depends, was 12 and is 20"),
            std::string::npos);
}

TEST_F(TrainBinary, ACorruptCheckpointIsPassedOver) {
  ASSERT_EQ(run({"--out", "whole"}).code, 0);
  ASSERT_EQ(run({}).code, 0);
  fs::remove(folder / "out/adapter_model.safetensors");
  for (const char *name :
       {"checkpoint-12/optimizer.safetensors", "checkpoint-10/trainer_state.json"}) {
    std::string path = (folder / "out" / name).string(), bytes = fileBytes(path);
    bytes[bytes.size() / 2] = char(bytes[bytes.size() / 2] ^ 1);
    std::ofstream(path, std::ios::binary) << bytes;
  }
  Ended ended = run({"--resume"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("checkpoint-12' is corrupt: 'optimizer.safetensors'"), std::string::npos)
      << ended.err;
  EXPECT_NE(ended.err.find("goes on from 'out/checkpoint-5' at step 5 of 12"), std::string::npos);
  EXPECT_EQ(adapter(), adapter("whole"));
}

TEST_F(TrainBinary, EvalIsTheLossOfTraining) {
  build([](Json &json) {
    json["train"]["gradient_accumulation_steps"] = 3;
  }); // all data in one window
  ASSERT_EQ(run({"--steps", "1"}).code, 0);
  Ended ended = run({"--eval", "--json", "--logits", "logits.safetensors"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  Json json = Json::parse(ended.out);
  EXPECT_NEAR(json["loss"].get<double>(), metrics()[0]["loss"].get<double>(), 1e-6);
  EXPECT_EQ(json["samples"].size(), 6u);
  EXPECT_EQ(json["samples"][0]["labels"], 4);
  auto logits = formats::Safetensors::open((folder / "logits.safetensors").string());
  ASSERT_TRUE(logits) << logits.error().message;
  EXPECT_EQ(logits->find("logits.5")->shape, (std::vector<int64_t>{6, 8}));
  EXPECT_EQ(logits->integers("input_ids.0")->at(2), 4);
  Ended adapted = run({"--eval", "--adapter", "out"});
  EXPECT_EQ(adapted.code, 0) << adapted.err;
  EXPECT_NE(adapted.out.find("loss "), std::string::npos);
}

TEST_F(TrainBinary, StopsAtWhatIsNotFinite) {
  build([](Json &json) {
    json["optimizer"]["learning_rate"] = 1e38;
    json["optimizer"]["max_grad_norm"] = 0;
    json["schedule"] = {{"name", "constant"}, {"warmup_steps", 0}};
  });
  Ended ended = run({});
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_NE(ended.err.find("lower optimizer.learning_rate"), std::string::npos) << ended.err;
  EXPECT_FALSE(fs::exists(folder / "out" / "adapter_model.safetensors"));
  std::vector<Json> lines = metrics();
  EXPECT_TRUE(lines.back()["loss"].is_null());
  EXPECT_TRUE(lines.back().contains("nonfinite"));
  EXPECT_NE(ended.err.find("no checkpoint was saved yet"), std::string::npos) << ended.err;
  EXPECT_EQ(ended.err.find("-nan"), std::string::npos) << ended.err;
}

/// An update that overflows is seen by no loss if none follows: neither saved nor published.
TEST_F(TrainBinary, WhatIsNotFiniteIsNotSaved) {
  const auto with = [](double rate) {
    return [rate](Json &json) {
      json["optimizer"]["learning_rate"] = rate;
      json["optimizer"]["weight_decay"] = 1e30;
      json["optimizer"]["max_grad_norm"] = 0;
      json["schedule"] = {{"name", "constant"}, {"warmup_steps", 0}};
      json["train"]["save_steps"] = 1;
    };
  };
  build(with(1e38));
  Ended ended = run({"--steps", "1"});
  EXPECT_EQ(ended.code, 1) << ended.err;
  for (const char *words : {"error: step 1: after the update: 'bias.lora_A.weight' is ",
                            "nothing of it is saved; no checkpoint was saved yet"})
    EXPECT_NE(ended.err.find(words), std::string::npos) << words << " in " << ended.err;
  EXPECT_FALSE(fs::exists(folder / "out/adapter_model.safetensors"));
  EXPECT_FALSE(fs::exists(folder / "out/checkpoint-1"));
}

TEST_F(TrainBinary, AWindowWithoutLabelsIsSkipped) {
  std::vector<int32_t> ids(36, 1), labels(36, -100);
  for (size_t i = 24; i < 36; ++i)
    labels[i] = 2;
  saveTokens(ids, labels);
  build([](Json &json) { json["train"]["gradient_accumulation_steps"] = 1; });
  Ended ended = run({"--steps", "3"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("step 1: no token of its 12 has a label; skipped"), std::string::npos);
  std::vector<Json> lines = metrics();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["step"], 3);
}

TEST_F(TrainBinary, UsageAndFiles) {
  EXPECT_EQ(run({"--stepz", "3"}).code, 2);
  EXPECT_EQ(run({"--data", "toy"}).code, 2);
  EXPECT_EQ(run({"--steps", "0"}).code, 2);
  EXPECT_EQ(run({"--generate"}).code, 2);
  Ended unknown = run({"--data", "boy=x"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(unknown.err, "error: no [[data]] is named 'boy'; there is: toy\n");
  Ended missing = run({"--data", "toy=none.safetensors"});
  EXPECT_NE(missing.code, 0);
  EXPECT_NE(missing.err.find("none.safetensors"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "out" / "metrics.jsonl")) << "nothing half-written";
  EXPECT_EQ(run({"--model", "/none"}).code, 1);
  Ended help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.out.find("--resume"), std::string::npos);
  EXPECT_EQ(run({"--version"}).out, std::string("lorac ") + LORAC_VERSION + "\n");
  Ended prompt = run({"--generate", "--prompt", "a"});
  EXPECT_EQ(prompt.code, 3) << "drawn weights have no tokenizer";
}

TEST_F(TrainBinary, LoraPlusAtRatioOneIsLora) {
  ASSERT_EQ(run({"--out", "lora"}).code, 0);
  build([](Json &json) { json["adapter"]["loraplus"] = {{"loraplus_lr_ratio", 1}}; });
  ASSERT_EQ(run({"--out", "plus"}).code, 0);
  EXPECT_EQ(adapter("lora"), adapter("plus"));
  build([](Json &json) { json["adapter"]["loraplus"] = {{"loraplus_lr_ratio", 16}}; });
  ASSERT_EQ(run({"--out", "ratio"}).code, 0);
  EXPECT_NE(adapter("lora"), adapter("ratio"));
  EXPECT_NEAR(metrics("ratio")[2]["learning_rate/lora_B"].get<double>(), 0.032, 1e-12);
}

TEST_F(TrainBinary, ProfileAndMetricsFiles) {
  Ended ended = run({"--profile", "profile.json", "--metrics", "more.jsonl"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  Json profile = Json::parse(fileBytes((folder / "profile.json").string()));
  ASSERT_EQ(profile["kernels"].size(), 8u);
  std::map<std::string, size_t> programs;
  for (const Json &kernel : profile["kernels"]) {
    ++programs[kernel["program"]];
    if (kernel["program"] != "train")
      EXPECT_EQ(kernel["calls"], 12) << "one a step";
  }
  EXPECT_EQ(programs, (std::map<std::string, size_t>{
                          {"begin", 1}, {"train", 4}, {"norm", 2}, {"update", 1}}));
  EXPECT_EQ(profile["kernels"][0]["calls"].get<int>() % 12, 0);
  EXPECT_EQ(fileBytes((folder / "more.jsonl").string()),
            fileBytes((folder / "out/metrics.jsonl").string()));
}

TEST_F(TextBinary, EvaluatesFromStepZeroToTheEnd) {
  Ended ended = run({});
  ASSERT_EQ(ended.code, 0) << ended.err;
  std::vector<int64_t> steps;
  std::vector<double> losses;
  for (const Json &line : metrics())
    if (line.contains("eval_loss")) {
      steps.push_back(line["step"].get<int64_t>());
      losses.push_back(line["eval_loss"].get<double>());
    }
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 4, 8, 10}));
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_NE(ended.err.find("40 samples"), std::string::npos);
  EXPECT_NE(ended.err.find("8 samples held out"), std::string::npos);
  // The held-out loss of --eval with the trained adapter is the last eval_loss.
  Json json = Json::parse(run({"--eval", "--json", "--adapter", "out"}).out);
  double sum = 0, labels = 0;
  for (const Json &sample : json["samples"])
    if (sample["held_out"] == true) {
      sum += sample["loss"].get<double>() * sample["labels"].get<double>();
      labels += sample["labels"].get<double>();
    }
  EXPECT_NEAR(sum / labels, losses.back(), 1e-6);
  EXPECT_NE(fileBytes(out + "/README.md").find("| 10 | "), std::string::npos);
}

TEST_F(TextBinary, ResumesInTheMiddleOfPackedText) {
  ASSERT_EQ(run({"--out", "whole"}).code, 0);
  ASSERT_EQ(run({}).code, 0);
  fs::remove_all(folder / "out/checkpoint-10");
  Ended ended = run({"--resume"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("goes on from 'out/checkpoint-5'"), std::string::npos);
  EXPECT_EQ(adapter(), adapter("whole"));
  EXPECT_EQ(metrics().size(), metrics("whole").size());
  EXPECT_EQ(metrics().back()["eval_loss"], metrics("whole").back()["eval_loss"]);
}

TEST_F(TextBinary, Generates) {
  // The likeliest token behind 'b' (one-hot 1, weight 1) is 'f' (one-hot 1, weight 2), and then 'f'
  // again.
  Ended ended = run({"--generate", "--prompt", "ab", "--max-new-tokens", "3", "--prompt", "d"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.out, "fff\n\n") << "'<e>' is the like of 'd', and ends the text";
  Json json = Json::parse(run({"--generate", "--prompt", "a", "--json"}).out);
  EXPECT_EQ(json[0]["text"], "eeeeeeee");
  EXPECT_EQ(json[0]["finish_reason"], "context") << "max_length is 8";
  Ended seeded = run({"--generate", "--prompt", "a", "--temperature", "5", "--seed", "3"});
  EXPECT_EQ(seeded.out,
            run({"--generate", "--prompt", "a", "--temperature", "5", "--seed", "3"}).out);
  EXPECT_EQ(run({"--generate", "--prompt", "abcdefabcdef"}).code, 3);
}

TEST_F(TextBinary, AnotherModelIsNamed) {
  std::vector<float> table(16);
  std::vector<formats::TensorToWrite> tensors = {
      {"model.embed_tokens.weight", formats::DType::F32, {4, 4}, table.data()}};
  ASSERT_TRUE(formats::writeSafetensors((folder / "model/model.safetensors").string(), tensors));
  Ended ended = run({});
  EXPECT_EQ(ended.code, 5);
  EXPECT_NE(ended.err.find("model.embed_tokens.weight"), std::string::npos) << ended.err;
  EXPECT_FALSE(fs::exists(folder / "out/metrics.jsonl"));
}

TEST(TrainRuntime, WithoutAPayload) {
  EXPECT_EQ(system(LORAC_TRAIN " --version > /dev/null"), 0);
  EXPECT_EQ(WEXITSTATUS(system(LORAC_TRAIN " 2> /dev/null")), int(Exit::ForeignFile));
}

} // namespace
} // namespace lorac::train
