#include "tests/reference/CompiledSpec.h"

#include "compiler/tools/CompileProject.h"
#include "runtime/train/AdapterState.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <unistd.h>

namespace fs = std::filesystem;

namespace lorac::test {

namespace {

/// Whether it was done; a failure is the test's.
template <typename T>
bool told(const Result<T> &result) {
  if (!result)
    ADD_FAILURE() << result.error().message;
  return bool(result);
}

} // namespace

fs::path golden(const std::string &name) {
  return fs::path(LORAC_SOURCE_DIR) / "tests/golden" / name;
}

std::string smolModel() {
  if (const char *set = std::getenv("LORAC_SMOLLM2"))
    return set;
  fs::path model = fs::path(LORAC_SOURCE_DIR) / "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  return fs::exists(model) ? model.string() : "";
}

CompiledSpec::CompiledSpec(const std::string &name, const std::string &toml)
    : root(fs::temp_directory_path() / ("lorac-" + name + "-" + std::to_string(getpid()))) {
  open(name, toml);
}

void CompiledSpec::open(const std::string &name, const std::string &toml) {
  // Kernels in common with other tests, and none in the user's own cache.
  setenv("LORAC_CACHE_DIR", LORAC_BINARY_DIR "/test-cache", 0);
  fs::remove_all(root);
  fs::create_directories(root);
  const fs::path spec = root / (name + ".toml");
  std::ofstream(spec) << toml;

  tools::CompileOptions options;
  options.spec.path = spec;
  options.out = root / "generated";
  tools::Project project;
  tools::ProgramFolder folder;
  if (tools::compileToFolder(options, project, folder) != Exit::Done) {
    ADD_FAILURE() << "does not compile: " << toml;
    return;
  }
  auto payload = train::Payload::read(folder.program());
  ASSERT_TRUE(payload) << payload.error().message;
  auto run = train::parseRunConfig(payload->file("run.json"));
  ASSERT_TRUE(run) << run.error().message;
  run->outputDir = root / "out";
  auto session = train::Session::open(*payload, *run, {}, [](const std::string &) {});
  ASSERT_TRUE(session) << session.error().message;
  opened = std::move(*session);
  const train::Plan &plan = opened->plan;
  auto loaded = train::loadCorpus(opened->run.data, {},
                                  {plan.vocab, plan.maxLength, plan.maxTokens, opened->run.seed});
  ASSERT_TRUE(loaded) << loaded.error().message;
  corpus = std::move(*loaded);
}

CompiledSpec::~CompiledSpec() {
  opened.reset();
  fs::remove_all(root);
}

void CompiledSpec::loadAdapter(const fs::path &adapter) {
  auto done = opened->edit([&](const train::TrainedFloats &trained) -> Result<void> {
    auto loaded = train::loadAdapter(opened->plan, trained.params, adapter,
                                     train::AdapterUse::Continue, opened->run.useRslora);
    return loaded ? Result<void>() : loaded.error();
  });
  ASSERT_TRUE(done) << done.error().message;
}

train::MicroBatch CompiledSpec::batch(int64_t index) {
  train::MicroBatch batch;
  batch.clear();
  for (int64_t row = 0; row < corpus.batchRows; ++row)
    batch.add(corpus, corpus.pieces[size_t(index * corpus.batchRows + row)]);
  return batch;
}

std::vector<float> CompiledSpec::logits(const train::MicroBatch &batch) {
  const train::Plan &plan = opened->plan;
  const int64_t stride = train::Plan::leadingDim(plan.vocab);
  std::vector<float> all;
  if (!told(opened->feed(batch)) || !told(opened->execute(train::Program::Hidden, batch)))
    return all;
  for (int64_t begin = 0; begin < batch.tokens(); begin += plan.headRows) {
    const int64_t count = std::min(plan.headRows, batch.tokens() - begin);
    auto rows = opened->logits(begin, count);
    if (!told(rows))
      return all;
    for (int64_t i = 0; i < count; ++i)
      all.insert(all.end(), *rows + i * stride, *rows + i * stride + plan.vocab);
  }
  return all;
}

double CompiledSpec::lossAndGradients(const train::MicroBatch &batch,
                                      std::map<std::string, std::vector<float>> &gradients) {
  const train::Plan &plan = opened->plan;
  if (!told(opened->backend->zeroGrads()) || !told(opened->feed(batch)) ||
      !told(opened->execute(train::Program::Train, batch, float(1.0 / double(batch.labels)))))
    return NAN;
  auto loss = opened->sumRowLoss(batch.tokens());
  auto grads = opened->backend->grads();
  if (!told(loss) || !told(grads))
    return NAN;
  for (const train::PlanParam &param : plan.params) {
    const float *g = *grads + param.offset;
    gradients["base_model.model." + param.name] = std::vector<float>(g, g + param.count());
  }
  return *loss / double(batch.labels);
}

std::vector<std::map<std::string, double>> CompiledSpec::train() {
  std::vector<std::map<std::string, double>> lines;
  const fs::path out = root / "out";
  const std::string command =
      (root / "generated/train").string() + " --quiet --overwrite --out " + out.string();
  if (int status = std::system(command.c_str())) {
    ADD_FAILURE() << command << " ended with status " << status;
    return lines;
  }
  std::ifstream metrics(out / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    auto &values = lines.emplace_back();
    const nlohmann::json object = nlohmann::json::parse(line);
    for (auto &[key, value] : object.items())
      if (value.is_number())
        values[key] = value;
  }
  return lines;
}

double errorOf(const std::vector<float> &x, const std::vector<float> &y) {
  if (x.size() != y.size())
    return INFINITY;
  double worst = 0, largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, std::abs(double(x[i]) - y[i]));
    largest = std::max(largest, std::abs(double(y[i])));
    if (std::isnan(x[i]))
      return INFINITY;
  }
  return largest > 0 ? worst / largest : worst;
}

} // namespace lorac::test
