// A train binary of a GPU's program, as a user runs it: in the PTX simulator, and on machines where
// it cannot run.
#include "FakeCudaProgram.h"
#include "Simulator.h"
#include "TrainBinary.h"
#include "tests/unit/gpu/FakeCuda.h"

#include <csignal>
#include <thread>

namespace lorac::train {
namespace {

/// The program of FakeCudaProgram.h; `onCpu` puts that of FakeProgram.h in its place.
class CudaBinary : public TextBinary {
protected:
  std::vector<PayloadFile> program() override {
    return onCpu ? TextBinary::program() : fakeCudaProgram(plan);
  }
  Ended runOnCpu(const std::vector<std::string> &arguments) {
    onCpu = true;
    build(asText);
    Ended ended = run(arguments);
    onCpu = false;
    build(asText);
    return ended;
  }
  std::vector<float> weights(const std::string &name, const std::string &tensor) {
    auto file = formats::Safetensors::open((folder / name).string());
    EXPECT_TRUE(file) << file.error().message;
    Result<std::vector<float>> values = file->floats(tensor);
    EXPECT_TRUE(values) << values.error().message;
    return *values;
  }

  std::string plan = fakeCudaPlanJson();
  bool onCpu = false;
};

TEST_F(CudaBinary, TrainsAsOnTheCpu) {
  LORAC_NEEDS_SIMULATOR();
  Ended cpu = runOnCpu({"--out", "cpu"});
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  Ended cuda = run({"--out", "cuda", "--profile", "profile.json"});
  ASSERT_EQ(cuda.code, 0) << cuda.err;
  EXPECT_NE(cuda.err.find("memory of the GPU planned: weights 16.0 KiB, arena 5.0 KiB"),
            std::string::npos)
      << cuda.err;
  std::vector<Json> a = metrics("cpu"), b = metrics("cuda");
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (const char *key : {"step", "learning_rate", "epoch", "num_input_tokens_seen"})
      EXPECT_EQ(a[i].value(key, Json()), b[i].value(key, Json())) << i << key;
    for (const char *key : {"loss", "eval_loss", "grad_norm"})
      if (a[i].contains(key)) {
        EXPECT_NEAR(a[i][key].get<double>(), b[i][key].get<double>(), 1e-2) << i << key;
      }
    if (b[i].contains("loss")) {
      EXPECT_EQ(b[i]["peak_memory_bytes"], 16384 + 5120);
      EXPECT_GT(b[i]["peak_host_memory_bytes"], 100000);
    }
  }
  const std::string b0 = "base_model.model.bias.lora_B.weight";
  const std::vector<float> ours = weights("cuda/adapter_model.safetensors", b0),
                           theirs = weights("cpu/adapter_model.safetensors", b0);
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_NEAR(ours[i], theirs[i], 2e-3);
  const Json profile = Json::parse(fileBytes((folder / "profile.json").string()));
  EXPECT_EQ(profile["target"], "cuda");
  EXPECT_EQ(profile["planned_bytes"], 16384 + 5120);
  size_t programs = 0;
  for (const Json &kernel : profile["kernels"])
    programs += kernel["program"] == "norm" || kernel["program"] == "update";
  EXPECT_EQ(programs, 3u);

  // The adapter serves on either target.
  for (const char *from : {"cpu", "cuda"}) {
    Ended onGpu = run({"--eval", "--adapter", from, "--json"});
    Ended onCpu = runOnCpu({"--eval", "--adapter", from, "--json"});
    ASSERT_EQ(onGpu.code, 0) << onGpu.err;
    ASSERT_EQ(onCpu.code, 0) << onCpu.err;
    EXPECT_NEAR(Json::parse(onGpu.out)["loss"].get<double>(),
                Json::parse(onCpu.out)["loss"].get<double>(), 1e-2);
  }
}

TEST_F(CudaBinary, KilledAndResumedEndsInTheSameBytes) {
  LORAC_NEEDS_SIMULATOR();
  ASSERT_EQ(run({"--out", "whole"}).code, 0);
  pid_t child = start({"--out", "cut"});
  for (int i = 0; i < 3000 && !std::filesystem::exists(folder / "cut/checkpoint-5"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGKILL);
  wait(child);
  Ended resumed = run({"--out", "cut", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("goes on from 'cut/checkpoint-"), std::string::npos) << resumed.err;
  EXPECT_EQ(adapter("cut"), adapter("whole"));
  EXPECT_EQ(fileBytes((folder / "cut/checkpoint-10/optimizer.safetensors").string()),
            fileBytes((folder / "whole/checkpoint-10/optimizer.safetensors").string()));

  Ended other = runOnCpu({"--out", "cut", "--resume"});
  EXPECT_EQ(other.code, 3);
  EXPECT_NE(other.err.find("the target was cuda bf16 and is cpu"), std::string::npos) << other.err;
}

TEST_F(CudaBinary, GeneratesAndGivesLogits) {
  LORAC_NEEDS_SIMULATOR();
  ASSERT_EQ(run({"--out", "trained"}).code, 0);
  const std::vector<std::string> words = {
      "--generate", "--adapter", "trained", "--prompt",         "ab",
      "--prompt",   "cd",        "--json",  "--max-new-tokens", "4"};
  Ended cuda = run(words), cpu = runOnCpu(words);
  ASSERT_EQ(cuda.code, 0) << cuda.err;
  EXPECT_EQ(cuda.out, cpu.out);
  ASSERT_EQ(run({"--eval", "--logits", "cuda.safetensors"}).code, 0);
  ASSERT_EQ(runOnCpu({"--eval", "--logits", "cpu.safetensors"}).code, 0);
  EXPECT_EQ(weights("cuda.safetensors", "logits.3"), weights("cpu.safetensors", "logits.3"));
}

/// A machine that cannot run the program: words, an exit code, nothing written.
TEST_F(CudaBinary, SaysWhyItCannotRun) {
  const struct {
    const char *library, *settings;
    int code;
    const char *words;
  } cases[] = {
      {"/nowhere/libcuda.so.1", "", 1,
       "error: the program was compiled for a GPU: no CUDA driver: looked for "
       "'/nowhere/libcuda.so.1' ("},
      {"libm.so.6", "", 1, "'libm.so.6' has no 'cuGetErrorName': it is too old, or no driver"},
      {FAKE_CUDA, "init=100", 1, "says CUDA_ERROR_100"},
      {FAKE_CUDA, "count=0", 1, "shows none; look at what nvidia-smi"},
      {FAKE_CUDA, "capability=75", 1,
       "kernel 'fake_embed' was compiled for sm_80; Fake GPU (sm_75) runs none of them; compile "
       "the spec with --arch sm_75"},
      {FAKE_CUDA, "ptx=222,driver=11080", 1, "the driver knows CUDA 11.8: a newer one"},
      {FAKE_CUDA, "memory=20000", 4,
       "error: the program needs 21.0 KiB of the GPU's memory (weights 16.0 KiB, arena 5.0 KiB) "
       "and Fake GPU (sm_80) has 19.5 KiB free of 19.5 KiB: 1.5 KiB too little; lower "
       "train.batch_size or train.max_length, or set target.memory, and compile again"},
      {FAKE_CUDA, "alloc=2", 4, "cannot get 5120 bytes of the GPU for the arena: CUDA_ERROR_2"},
      {FAKE_CUDA, "parameters=7", 5,
       "plan.json: a launch gives kernel 'fake_head' 6 arguments, it takes 7; compile the spec "
       "again"},
      {FAKE_CUDA, "launch=700@3", 1,
       "CUDA_ERROR_700 (the fake driver was told to); an earlier launch failed, LORAC_CUDA_SYNC=1 "
       "names it"},
  };
  for (const auto &c : cases) {
    gpu::FakeCuda fake(c.settings, c.library);
    Ended ended = run({"--out", "refused"});
    EXPECT_EQ(ended.code, c.code) << c.settings << ended.err;
    EXPECT_NE(ended.err.find(c.words), std::string::npos) << ended.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "refused/adapter_model.safetensors"));
  }
  gpu::FakeCuda fake("launch=700@1");
  setenv("LORAC_CUDA_SYNC", "1", 1);
  Ended named = run({"--out", "refused", "--overwrite"});
  unsetenv("LORAC_CUDA_SYNC");
  EXPECT_EQ(named.code, 1);
  EXPECT_NE(named.err.find("error: kernel 'fake_embed' of embed at fake.toml:1:1 failed: the GPU's "
                           "work: CUDA_ERROR_700"),
            std::string::npos)
      << named.err;
}

TEST_F(CudaBinary, ADriverNeedsNoKernelsToFail) {
  gpu::FakeCuda fake;
  plan.replace(plan.find("fake_head"), 9, "fake_hood");
  auto files = fakeCudaProgram(plan);
  std::erase_if(files, [](const PayloadFile &f) { return f.name.find("hood") != f.name.npos; });
  files.push_back({"run.json", runJson().dump()});
  ASSERT_TRUE(writeTrainBinary(LORAC_TRAIN, files, binary));
  Ended ended = run({});
  EXPECT_EQ(ended.code, 5);
  EXPECT_NE(ended.err.find("carries no binary of kernel 'fake_hood'; compile the spec again"),
            std::string::npos)
      << ended.err;
}

} // namespace
} // namespace lorac::train
