// Runs that cannot begin or cannot go on: one error, its exit code, and nothing half-written.
#include "TrainBinary.h"

#include "runtime/formats/Gguf.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sys/resource.h>
#include <thread>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

using Tensors = std::vector<formats::TensorToWrite>;

class HostileRun : public TextBinary {
protected:
  void refused(const std::vector<std::string> &arguments, Exit code, const std::string &words) {
    expectError(run(arguments), code, words);
    EXPECT_TRUE(!fs::exists(out) || fs::is_empty(out)) << "something was written";
  }
  /// One line says it, after the notes.
  static void expectError(const Ended &ended, Exit code, const std::string &words) {
    EXPECT_EQ(ended.code, int(code)) << ended.err;
    size_t at = ended.err.find("error: ");
    ASSERT_NE(at, std::string::npos) << ended.err;
    EXPECT_EQ(ended.err.find('\n', at), ended.err.size() - 1) << ended.err;
    EXPECT_NE(ended.err.find(words, at), std::string::npos) << ended.err << "lacks: " << words;
  }
  /// The binary by way of a shell, where `$train` is it.
  Ended shell(const std::string &command) {
    pid_t child = fork();
    if (child == 0) {
      std::string whole = "exec 2>stderr; train=./train; " + command;
      if (chdir(folder.c_str()) == 0)
        execl("/bin/sh", "sh", "-c", whole.c_str(), nullptr);
      _exit(99);
    }
    return wait(child);
  }
  void saveModel(const Tensors &tensors) {
    ASSERT_TRUE(formats::writeSafetensors((folder / "model/model.safetensors").string(), tensors));
  }
  long steps(const std::string &name) {
    const std::string lines = fileBytes((folder / name / "metrics.jsonl").string());
    return std::count(lines.begin(), lines.end(), '\n');
  }
  /// Waits until the run in `name` has logged that many steps.
  void waitForSteps(const std::string &name, long count) {
    for (int i = 0; i < 3000 && steps(name) < count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::vector<std::string> namesIn(const std::string &name) {
    std::vector<std::string> names;
    for (const fs::directory_entry &entry : fs::directory_iterator(folder / name))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
};

TEST_F(HostileRun, CutModels) {
  formats::GgufWriter writer;
  writer.text("general.architecture", "llama");
  const std::vector<float> table(32, 0.5f);
  writer.tensor("token_embd.weight", formats::GgmlType::F32, {8, 4}, std::span<const float>(table));
  ASSERT_TRUE(writer.write((folder / "model.gguf").string()));
  for (const std::string name : {"model/model.safetensors", "model.gguf"}) {
    const std::string whole = fileBytes((folder / name).string());
    for (size_t size : {size_t(0), size_t(3), size_t(7), size_t(8), size_t(40), whole.size() / 2,
                        whole.size() - 1}) {
      write(name, whole.substr(0, size));
      refused({"--model", name == "model.gguf" ? name : "model"}, Exit::ForeignFile, name);
    }
  }
  write("model/config.json", R"({"model_type": )");
  refused({}, Exit::ForeignFile, "'model/config.json': not JSON at byte");
}

TEST_F(HostileRun, ModelsThatDoNotFit) {
  const std::vector<float> values(64, 0.5f);
  const formats::TensorToWrite table{
      "model.embed_tokens.weight", formats::DType::F32, {8, 4}, values.data()};
  saveModel({{"model.norm.weight", formats::DType::F32, {4}, values.data()}});
  refused({}, Exit::ForeignFile, "tensor 'model.embed_tokens.weight' is absent");
  saveModel({table, {"model.layers.0.bias", formats::DType::F32, {4}, values.data()}});
  refused({}, Exit::ForeignFile, "tensor 'model.layers.0.bias' [4] has no place in it");
  saveModel({{table.name, formats::DType::F32, {4, 8}, values.data()}});
  refused({}, Exit::ForeignFile, "is F32 [4, 8], expected [8, 4]");
  saveModel({{table.name, formats::DType::I32, {8, 4}, values.data()}});
  refused({}, Exit::ForeignFile, "is I32, which this version does not read");
}

/// A plan whose regions or optimizer cannot be is refused before anything is taken.
class HostilePlan : public HostileRun {
protected:
  std::vector<PayloadFile> program() override {
    return {{"module.so", fileBytes(FAKE_MODULE)}, {"plan.json", plan.dump()}};
  }
  void refusedWith(const std::function<void(Json &)> &change, const std::string &words) {
    plan = Json::parse(fakePlanJson());
    change(plan);
    build(asText);
    for (const std::vector<std::string> &arguments :
         {std::vector<std::string>{}, {"--resume"}, {"--eval"}})
      refused(arguments, Exit::ForeignFile, words);
  }
  Json plan = Json::parse(fakePlanJson());
};

TEST_F(HostilePlan, RegionsAndOptimizer) {
  refusedWith([](Json &json) { json["arena"]["regions"][3]["count"] = 1 << 20; },
              "'exp_avg_sq' of 1048576 floats, the params have 8; compile the spec again");
  refusedWith([](Json &json) { json["arena"]["regions"][1]["offset"] = 16; },
              "has 'grads' at 16, overlapping");
  refusedWith([](Json &json) { json.erase("optimizer"); }, "'plan' has no 'optimizer'");
  refusedWith([](Json &json) { json["optimizer"]["scalars"][5]["by_group"] = 1 << 19; },
              "has 'decay' of group 1 at 524293, outside of 9 floats");
  refusedWith(
      [](Json &json) { json["optimizer"]["scalars"][0]["formula"] = {"rate", "system", "/"}; },
      "formula[1]' is 'system'");
  refusedWith([](Json &json) { json["io"]["update_spans"] = 8180; }, "'io.update_spans' at 8180");
  refusedWith([](Json &json) { json["params"].push_back(json["params"][0]); },
              "plan.json: 'plan' has 'params' of the name 'bias.lora_A.weight' twice; compile");
  refusedWith([](Json &json) { json["params"][0]["offset"] = 2; }, "overlapping 'bias.lora_B");
  refusedWith([](Json &json) { json["programs"]["update"][0]["args"][0] = 768; },
              "'plan.programs' has a launch of 'update' in which 'fake_update' has another args[0] "
              "than 'io.update_spans'");
  refusedWith([](Json &json) { json["abi"] = 3; }, "is of ABI 3, this program runs ABI 6");
}

TEST_F(HostileRun, MissingFiles) {
  refused({"--model", "none"}, Exit::Failed, "cannot open the model 'none'");
  refused({"--data", "toy=none.txt"}, Exit::Refused, "cannot open 'none.txt'");
  refused({"--data", "toy=none*.txt"}, Exit::Refused, "no file matches the pattern 'none*.txt'");
  refused({"--eval", "--adapter", "none"}, Exit::Failed, "cannot open the adapter 'none'");
  fs::remove(folder / "model/tokenizer.json");
  refused({}, Exit::Failed, "folder 'model' has no 'tokenizer.json'");
  fs::remove(folder / "model/model.safetensors");
  refused({}, Exit::Failed, "'model' holds neither model.safetensors nor");
  build([](Json &json) { json["data"][0]["path"] = {"none.safetensors"}; });
  refused({}, Exit::Refused, "cannot open 'none.safetensors'");
  build([](Json &json) { json["adapter"]["init_from"] = "none"; });
  refused({}, Exit::Failed, "cannot open the adapter 'none'");
}

TEST_F(HostileRun, DataThatIsRefused) {
  write("text.txt", "");
  refused({}, Exit::Refused, "data file 'text.txt' is empty");
  write("text.txt", " \n%\n\n");
  refused({}, Exit::Refused, "data 'toy' holds no sample");
  write("text.txt", "abc\n%\nab\xff");
  refused({}, Exit::Refused, "data file 'text.txt' is not UTF-8 at line 3, column 3: byte 0xff");
  build([](Json &json) {
    asText(json);
    json["data"][0]["overlong"] = "error";
  });
  write("text.txt", "ab\n%\nabcdefgabcdefg\n%\n");
  refused({}, Exit::Refused,
          "data file 'text.txt', line 3: the sample has 15 tokens, train.max_length is 8");
  // A tokenizer that knows more than the model.
  std::string vocabulary = fileBytes((folder / "model/tokenizer.json").string());
  vocabulary.replace(vocabulary.find(R"("g": 6)"), 6, R"("g": 6, "h": 8)");
  write("model/tokenizer.json", vocabulary);
  write("text.txt", "ab\n%\nah");
  refused({}, Exit::Refused, "token 8 at 4 is outside of the model's vocabulary of 8");
  build();
  write("data.safetensors", std::string("PK\x03\x04\x14\x00\x00\x00\x08\x08 zip", 14));
  refused({}, Exit::ForeignFile, "data.safetensors' is a");
}

TEST_F(HostileRun, OutputThatCannotBeWritten) {
  write("file", "mine");
  for (const std::string place : {"file", "file/below", "/proc/none"})
    refused({"--out", place}, Exit::Failed, "cannot make the output folder '" + place + "'");
  EXPECT_EQ(fileBytes((folder / "file").string()), "mine");
  refused({"--eval", "--logits", "none/logits.safetensors"}, Exit::Failed,
          "cannot write 'none/logits.safetensors'");
  expectError(shell("exec $train --eval >/dev/full"), Exit::Failed, "cannot write to stdout");
  expectError(shell("exec $train --eval --json >/dev/full"), Exit::Failed,
              "cannot write to stdout");
  expectError(shell("exec $train --generate --prompt a >/dev/full"), Exit::Failed,
              "cannot write to stdout");
  // Lines of metrics are not worth a run.
  Ended ended = run({"--metrics", "/dev/full", "--quiet"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.err, "warning: cannot write metrics to '/dev/full': No space left on device; the "
                       "run goes on, and the lines are written when they can be\n"
                       "warning: lines are missing at the end of '/dev/full': they could not be "
                       "written\n");
  EXPECT_TRUE(fs::exists(folder / "out/adapter_model.safetensors"));
}

/// A limit on the size of files stands for a disk that is full.
TEST_F(HostileRun, AFullDiskLeavesTheLastCheckpointWhole) {
  const auto longer = [](Json &json) {
    asText(json);
    json["train"]["steps"] = 1000;
    json["train"]["save_steps"] = 100;
    json["data"][0]["eval_fraction"] = 0;
  };
  build(longer);
  ASSERT_EQ(run({"--out", "whole", "--quiet"}).code, 0);
  // Metrics that have no room are said once; the run goes on to its end.
  Ended ended = shell("ulimit -f 100; exec $train --quiet");
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("cannot write metrics to 'out/metrics.jsonl': File too large"),
            std::string::npos)
      << ended.err;
  EXPECT_NE(ended.err.find("lines are missing at the end of 'out/metrics.jsonl'"),
            std::string::npos);
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 2) << ended.err;
  EXPECT_EQ(adapter(), adapter("whole"));
  const std::string lines = fileBytes(out + "/metrics.jsonl");
  EXPECT_EQ(lines.back(), '\n') << "half of a line";
  EXPECT_LE(lines.size(), 51200u);

  build([&](Json &json) { // a state beyond the limit
    longer(json);
    json["train"]["logging_steps"] = 1000;
    json["note"] = std::string(200000, 'x');
  });
  // A checkpoint that cannot be written is tried again at the next save, and waited for at the end.
  Ended full = shell("ulimit -f 100; LORAC_SAVE_WAIT=0.2 exec $train --out full --quiet");
  expectError(full, Exit::Failed, "trainer_state.json': File too large");
  for (const char *words : {"step 100: no checkpoint: ", "step 900: no checkpoint: ",
                            "step 1000: cannot write 'full/checkpoint-1000.tmp-",
                            "no checkpoint was saved yet", "free 64.", "go on with: "})
    EXPECT_NE(full.err.find(words), std::string::npos) << words << " in " << full.err;
  EXPECT_EQ(steps("full"), 1) << "the last step was reached";
  EXPECT_EQ(namesIn("full"), (std::vector<std::string>{"manifest.json", "metrics.jsonl"}))
      << "nothing half-written";
  // Room that comes is used.
  fs::remove(folder / "stderr");
  pid_t child = fork();
  if (child == 0) {
    if (chdir(folder.c_str()) == 0)
      execl("/bin/sh", "sh", "-c",
            "exec 2>stderr; ulimit -S -f 100; exec ./train --out room --quiet", nullptr);
    _exit(99);
  }
  const std::string words = "tried again for";
  for (int i = 0;
       i < 3000 && fileBytes((folder / "stderr").string()).find(words) == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  ASSERT_EQ(prlimit(child, RLIMIT_FSIZE, &unlimited, nullptr), 0);
  ended = wait(child);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_FALSE(adapter("room").empty());
  // A signal ends the wait.
  fs::remove(folder / "stderr");
  child = fork();
  if (child == 0) {
    if (chdir(folder.c_str()) == 0)
      execl("/bin/sh", "sh", "-c", "exec 2>stderr; ulimit -f 100; exec ./train --out stop --quiet",
            nullptr);
    _exit(99);
  }
  for (int i = 0;
       i < 3000 && fileBytes((folder / "stderr").string()).find(words) == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, SIGTERM);
  expectError(wait(child), Exit::Failed, "go on with: ");
}

/// The weights are packed before the first step, so a run does not need its files any more; one
/// that begins needs them whole.
TEST_F(HostileRun, FilesThatShrinkWhileTraining) {
  build([](Json &json) {
    asText(json);
    json["train"]["steps"] = 4000;
    json["train"]["eval_steps"] = 0;
    json["train"]["save_steps"] = 0;
  });
  ASSERT_EQ(run({"--out", "whole", "--quiet"}).code, 0);
  const std::string model = (folder / "model/model.safetensors").string(),
                    text = (folder / "text.txt").string();
  const std::string modelBytes = fileBytes(model), textBytes = fileBytes(text);
  pid_t child = start({});
  waitForSteps("out", 5);
  fs::resize_file(model, 100);
  fs::resize_file(text, 3);
  waitForSteps("out", steps("out") + 5);
  kill(child, SIGTERM);
  Ended ended = wait(child);
  ASSERT_EQ(ended.code, 128 + SIGTERM) << ended.err;
  const std::vector<std::string> before = namesIn("out");
  expectError(run({"--resume"}), Exit::ForeignFile, "'model/model.safetensors'");
  EXPECT_EQ(namesIn("out"), before);
  write("model/model.safetensors", modelBytes);
  expectError(run({"--resume"}), Exit::Refused, "is of another run: the data");
  write("text.txt", textBytes);
  Ended resumed = run({"--resume", "--quiet"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(adapter(), adapter("whole"));
}

TEST_F(HostileRun, TheCommandThatGoesOnSurvivesAShell) {
  build([](Json &json) { json["train"]["steps"] = 4000, json["train"]["save_steps"] = 0; });
  const std::string odd = "a b'$(id)`id`\"*;\n";
  pid_t child = start({"--out", odd, "--metrics", "of 'it'.jsonl"});
  waitForSteps(odd, 1);
  kill(child, SIGTERM);
  Ended ended = wait(child);
  ASSERT_EQ(ended.code, 128 + SIGTERM) << ended.err;
  const std::string words = "go on with: ";
  size_t at = ended.err.find(words);
  ASSERT_NE(at, std::string::npos) << ended.err;
  Ended resumed = shell("exec " + ended.err.substr(at + words.size()));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_FALSE(adapter(odd).empty());
}

} // namespace
} // namespace lorac::train
