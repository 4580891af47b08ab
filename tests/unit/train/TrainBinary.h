#pragma once
// The executable with a payload, as a user runs it: a small program of C kernels instead of a
// compiled model.

#include "FakeProgram.h"

#include "runtime/formats/Safetensors.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Payload.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <filesystem>
#include <sys/wait.h>
#include <unistd.h>

namespace lorac::train {

struct Ended {
  int code = -1; ///< 128+n when a signal ended it
  std::string out, err;
};

class TrainBinary : public testing::Test {
protected:
  void SetUp() override {
    folder =
        std::filesystem::path(testing::TempDir()) /
        ("train." + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    binary = (folder / "train").string();
    out = (folder / "out").string();
    // Three batches of two rows; the targets are few, so that a bias has something to learn.
    std::vector<int32_t> ids, labels;
    for (int i = 0; i < 3 * 2 * 6; ++i) {
      ids.push_back((i * i + i / 5) % 8);
      labels.push_back(3 + i % 2);
    }
    labels[3] = -100;
    saveTokens(ids, labels);
    build();
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  void saveTokens(const std::vector<int32_t> &ids, const std::vector<int32_t> &labels) {
    std::vector<formats::TensorToWrite> tensors = {
        {"input_ids", formats::DType::I32, {3, 2, 6}, ids.data()},
        {"labels", formats::DType::I32, {3, 2, 6}, labels.data()}};
    ASSERT_TRUE(formats::writeSafetensors((folder / "data.safetensors").string(), tensors));
  }

  Json runJson() {
    return Json::parse(
        R"({"spec": "fake", "spec_dir": "/", "model": {}, "quantization": {"format": "none", "block_size": 64,
      "double_quant": true, "compute_dtype": "auto"},
      "adapter": {"method": "lora", "r": 1, "lora_alpha": 2, "lora_dropout": 0, "use_rslora": false,
                  "target_modules": "all-linear"},
      "optimizer": {"name": "adamw", "learning_rate": 0.002, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01,
                    "max_grad_norm": 1.0},
      "schedule": {"name": "cosine", "warmup_steps": 2},
      "data": [{"name": "toy", "path": ["data.safetensors"], "format": "tokens", "separator": "", "eval_fraction": 0,
                "overlong": "split"}],
      "train": {"output_dir": "out", "steps": 12, "batch_size": 2, "max_length": 8, "packing": false,
                "gradient_accumulation_steps": 2, "seed": 7, "eval_steps": 0, "save_steps": 5, "save_total_limit": 0,
                "logging_steps": 1},
      "target": {"device": "cpu", "threads": 2}})");
  }

  void build(const std::function<void(Json &)> &change = {}) {
    Json run = runJson();
    if (change)
      change(run);
    std::vector<PayloadFile> files = program();
    files.push_back({"run.json", run.dump()});
    files.push_back({"spec.toml", "# the spec\n"});
    ASSERT_TRUE(writeTrainBinary(LORAC_TRAIN, files, binary));
  }
  /// Plan and kernels.
  virtual std::vector<PayloadFile> program() {
    return {{"module.so", fileBytes(FAKE_MODULE)}, {"plan.json", fakePlanJson()}};
  }

  /// Starts the binary in the folder with PATH empty; its process id.
  pid_t start(const std::vector<std::string> &arguments) {
    pid_t child = fork();
    if (child == 0) {
      if (chdir(folder.c_str()) != 0 || setenv("PATH", "", 1) != 0)
        _exit(99);
      for (auto [name, number] : {std::pair{"stdout", 1}, {"stderr", 2}})
        dup2(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600), number);
      std::vector<char *> words = {const_cast<char *>("./train")};
      for (const std::string &argument : arguments)
        words.push_back(const_cast<char *>(argument.c_str()));
      words.push_back(nullptr);
      execv("./train", words.data());
      _exit(99);
    }
    return child;
  }
  Ended wait(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            fileBytes((folder / "stdout").string()), fileBytes((folder / "stderr").string())};
  }
  Ended run(const std::vector<std::string> &arguments) { return wait(start(arguments)); }

  std::string adapter(const std::string &name = "out") {
    return fileBytes((folder / name / "adapter_model.safetensors").string());
  }
  std::vector<Json> metrics(const std::string &name = "out") {
    std::vector<Json> lines;
    std::ifstream in(folder / name / "metrics.jsonl");
    for (std::string line; std::getline(in, line);)
      lines.push_back(Json::parse(line));
    return lines;
  }

  std::filesystem::path folder;
  std::string binary, out;
};

/// A Hugging Face folder with a vocabulary of letters, so that text, evaluation and generation run.
class TextBinary : public TrainBinary {
protected:
  void SetUp() override {
    TrainBinary::SetUp();
    std::filesystem::create_directories(folder / "model");
    write("model/config.json", R"({"model_type": "llama", "vocab_size": 8})");
    write("model/tokenizer.json",
          R"({"version": "1.0", "added_tokens": [{"id": 7, "content": "<e>", "single_word": false,
      "lstrip": false, "rstrip": false, "normalized": false, "special": true}], "normalizer": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
      "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
      "use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
      "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6}, "merges": []}})");
    write("model/tokenizer_config.json", R"({"eos_token": "<e>", "add_bos_token": false})");
    // Token t is one-hot in t % 4, twice as long from 4 on: a prefix's head prefers the like of its
    // last token.
    std::vector<float> table(32);
    for (size_t t = 0; t < 8; ++t)
      table[t * 4 + t % 4] = t < 4 ? 1.0f : 2.0f;
    std::vector<formats::TensorToWrite> tensors = {
        {"model.embed_tokens.weight", formats::DType::F32, {8, 4}, table.data()}};
    ASSERT_TRUE(formats::writeSafetensors((folder / "model/model.safetensors").string(), tensors));
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += std::string("abcdefg").substr(size_t(i % 3), size_t(2 + i % 4)) + "\n%\n";
    write("text.txt", text);
    build(asText);
  }
  static void asText(Json &json) {
    json["model"]["source"] = "model";
    json["data"][0]["format"] = "text";
    json["data"][0]["path"] = {"text.txt"};
    json["data"][0]["separator"] = "\n%\n";
    json["data"][0]["eval_fraction"] = 0.2;
    json["train"]["eval_steps"] = 4;
    json["train"]["packing"] = true;
    json["train"]["steps"] = 10;
  }
  void write(const std::string &name, const std::string &bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  }
};

} // namespace lorac::train
