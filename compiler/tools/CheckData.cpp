#include "compiler/tools/CheckData.h"

#include "dsl/SpecJson.h"
#include "runtime/train/Batches.h"
#include "runtime/train/DataTokenizer.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/RunSurvey.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace lorac::tools {
namespace {

namespace fs = std::filesystem;

/// Says the error at `range`, once for all that it stands for.
Exit refuse(const Error &error, const dsl::SourceRange &range, dsl::Diagnostics &diags) {
  diags.error(range, error.message);
  return error.code;
}

/// Where a value stands, or the header of its table when it is a default.
template <class T>
const dsl::SourceRange &placeOf(const dsl::Field<T> &field, const dsl::SourceRange &table) {
  return field.given() ? field.range : table;
}

/// What `train` would say of the folder before it makes it.
Exit checkOutput(const Project &project, CheckedData &out, dsl::Diagnostics &diags) {
  const dsl::TrainSpec &train = project.spec.train;
  const dsl::SourceRange &range = placeOf(train.outputDir, train.range);
  out.outputFolder = *train.outputDir;
  std::error_code ignored;
  fs::path existing = fs::absolute(out.outputFolder, ignored);
  while (!fs::exists(existing, ignored) && existing.has_relative_path())
    existing = existing.parent_path();
  if (!fs::is_directory(existing, ignored))
    return refuse({"cannot make the output folder '" + out.outputFolder + "': '" +
                   existing.string() + "' is no folder"},
                  range, diags);
  if (access(existing.c_str(), W_OK | X_OK) != 0)
    return refuse(
        {"cannot write to the output folder '" + out.outputFolder + "': " + std::strerror(errno)},
        range, diags);
  const Result<train::RunSurvey> survey = train::surveyRun(out.outputFolder, train::RunStart::New);
  if (survey)
    return Exit::Done;
  if (survey.error().code != Exit::Usage)
    return refuse(survey.error(), range, diags);
  out.holdsRun = true; // what is done with it is said on train's command line
  diags.warning(range, survey.error().message);
  return Exit::Done;
}

/// Labels stand at the token's own place, as in a tokens file; the first is never predicted.
CheckedSample checkedSample(const train::Corpus &corpus, train::ShownSample sample) {
  CheckedSample out;
  for (uint64_t i = 0; i < sample.count; ++i)
    out.ids.push_back(corpus.ids[sample.begin + i]);
  out.labels.assign(out.ids.size(), -100);
  auto piece =
      std::lower_bound(corpus.pieces.begin(), corpus.pieces.end(), sample.begin,
                       [](const train::Piece &one, uint64_t begin) { return one.begin < begin; });
  for (; piece != corpus.pieces.end() && piece->begin < sample.begin + sample.count; ++piece)
    for (uint32_t i = 0; i + 1 < piece->count; ++i)
      out.labels[piece->begin - sample.begin + i + 1] = corpus.target(*piece, i);
  out.sample = std::move(sample);
  return out;
}

} // namespace

Exit checkData(const Project &project, int64_t samples, CheckedData &out, dsl::Diagnostics &diags) {
  const dsl::Spec &spec = project.spec;
  Result<train::RunConfig> run = train::parseRunConfig(dsl::toJson(spec));
  if (!run)
    return refuse({run.error().message, Exit::Bug}, {}, diags);
  train::TextEncoder encoder;
  if (train::needsTokenizer(run->data)) {
    Result<Tokenizer> tokenizer = train::loadTokenizer(run->modelSource);
    if (!tokenizer)
      return refuse(tokenizer.error(), placeOf(spec.model.source, spec.model.range), diags);
    encoder = train::encoderOf(*tokenizer);
  }
  const train::DataLimits limits{project.model.vocabSize, run->maxLength,
                                 run->batchSize * run->maxLength, run->seed, samples};
  const dsl::DataSpec &data = spec.data.front();
  const dsl::SourceRange &path = placeOf(data.path, data.range);
  Result<train::Corpus> corpus = train::loadCorpus(run->data, encoder, limits);
  if (!corpus)
    return refuse(corpus.error(), path, diags);
  train::warnOfNoEnd(encoder, *corpus);
  const train::BatchStream stream(*corpus, {run->batchSize, run->maxLength, run->batchSize,
                                            run->accumulation, false, run->seed});
  if (Result<void> some =
          train::requireLabels(stream, run->steps > 0 ? run->steps : stream.stepsOf(run->epochs));
      !some)
    return refuse(some.error(), path, diags);
  for (const std::string &warning : corpus->warnings)
    diags.warning(path, warning);
  for (train::TableFacts &table : corpus->tables) {
    std::vector<CheckedSample> &list = out.samples.emplace_back();
    for (train::ShownSample &sample : table.shown)
      list.push_back(checkedSample(*corpus, std::move(sample)));
  }
  out.tables = std::move(corpus->tables);
  out.notes = std::move(corpus->notes);
  return checkOutput(project, out, diags);
}

} // namespace lorac::tools
