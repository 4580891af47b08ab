// `lorac check`: everything that can be known before compiling.

#include "compiler/tools/CheckData.h"
#include "compiler/tools/Command.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Project.h"
#include "dsl/Diagnostics.h"
#include "dsl/SpecJson.h"
#include "nlohmann/json.hpp"

#include <algorithm>
#include <set>
#include <sstream>

namespace lorac::tools {
namespace {

struct CheckOptions {
  SpecInput spec;
  bool json = false;
  bool effective = false; ///< print the effective spec as TOML
  int64_t samples = 0;    ///< print so many of each table
};

using Json = nlohmann::ordered_json;

/// What the adapters add.
struct AdapterFacts {
  long long parameters = 0;
  std::set<int64_t> ranks;
};

AdapterFacts adapterFacts(const Project &project) {
  AdapterFacts facts;
  facts.parameters = project.ranks ? project.ranks->initial : 0; // AdaLoRA's E
  for (const dsl::AdapterChoice &adapter : project.adapters) {
    facts.ranks.insert(adapter.r);
    for (const dsl::BoundWeight &weight : project.model.weights)
      for (int64_t layer = 0; layer < (weight.perLayer ? project.model.layers : 1); ++layer)
        if (weight.shape.size() == 2 && weight.module(layer) == adapter.module)
          facts.parameters += adapter.r * (weight.shape[0] + weight.shape[1]);
  }
  return facts;
}

std::string summary(const Project &project) {
  const AdapterFacts facts = adapterFacts(project);
  std::string text = project.spec.path + " is right: " + project.model.architecture + " of " +
                     std::to_string(project.model.layers) + " layers, " +
                     std::to_string(project.adapters.size()) + " adapted modules, " +
                     grouped(facts.parameters) + " trainable parameters";
  if (project.ranks)
    return text + ", ranks in all " + std::to_string(project.ranks->initial) + " falling to " +
           std::to_string(project.ranks->target) + "\n";
  if (facts.ranks.size() == 1)
    text += ", rank " + std::to_string(*facts.ranks.begin());
  return text + "\n";
}

/// The data in lines, and the first sample of each table as it is trained on.
std::string dataLines(const CheckedData &data) {
  std::string text;
  for (const std::string &note : data.notes)
    text += note + "\n";
  for (const train::TableFacts &table : data.tables) {
    text += "first sample: " + table.start + ": " + std::to_string(table.startTokens) + " tokens";
    if (table.startHasBos || table.startHasEos)
      text += std::string(", with ") + (table.startHasBos ? "bos" : "") +
              (table.startHasBos && table.startHasEos ? " and " : "") +
              (table.startHasEos ? "eos" : "");
    text += ", " + std::to_string(table.startLabels) + " of them predicted\n";
  }
  return text;
}

/// Samples in lines: `> ` before what is trained, `| ` before what is only read.
std::string sampleLines(const CheckedData &data) {
  std::string text;
  for (const std::vector<CheckedSample> &table : data.samples)
    for (const CheckedSample &one : table) {
      const auto labels = std::count_if(one.labels.begin(), one.labels.end(),
                                        [](int32_t label) { return label >= 0; });
      text += "\n" + one.sample.path + train::placeInFile(one.sample.line, one.sample.row) + ": " +
              std::to_string(one.ids.size()) + " tokens, " + std::to_string(labels) + " trained\n";
      for (const train::Segment &segment : one.sample.segments) {
        std::istringstream lines(segment.text);
        for (std::string line; std::getline(lines, line);)
          text += (segment.isTrained ? "  > " : "  | ") + dsl::printable(line, 2000) + "\n";
      }
    }
  return text;
}

Json samplesJson(const std::vector<CheckedSample> &samples) {
  Json out = Json::array();
  for (const CheckedSample &one : samples) {
    Json segments = Json::array();
    for (const train::Segment &segment : one.sample.segments)
      segments.push_back({{"text", segment.text}, {"train", segment.isTrained}});
    out.push_back(
        {{"file", one.sample.path},
         {one.sample.line ? "line" : "row", one.sample.line ? one.sample.line : one.sample.row},
         {"segments", segments},
         {"ids", one.ids},
         {"labels", one.labels}});
  }
  return out;
}

Json asJson(const Project &project, const CheckedData &data) {
  const AdapterFacts facts = adapterFacts(project);
  Json tables = Json::array();
  for (const train::TableFacts &table : data.tables) {
    tables.push_back({{"name", table.name},
                      {"format", table.format},
                      {"files", table.files},
                      {"samples", table.samples},
                      {"tokens", table.tokens},
                      {"labels", table.labels},
                      {"held_out", table.heldOut},
                      {"empty", table.blank},
                      {"single_tokens", table.single},
                      {"unlabelled", table.unlabelled},
                      {"overlong", table.overlong},
                      {"cut_tokens", table.cutTokens},
                      {"first",
                       {{"start", table.start},
                        {"tokens", table.startTokens},
                        {"labels", table.startLabels},
                        {"bos", table.startHasBos},
                        {"eos", table.startHasEos}}}});
    if (const auto &samples = data.samples[tables.size() - 1]; !samples.empty())
      tables.back()["samples"] = samplesJson(samples);
  }
  return {
      {"model", {{"architecture", project.model.architecture}, {"layers", project.model.layers}}},
      {"adapted_modules", project.adapters.size()},
      {"trainable_parameters", facts.parameters},
      {"data", tables},
      {"output", {{"folder", data.outputFolder}, {"holds_run", data.holdsRun}}}};
}

} // namespace

static Exit runCheck(const CheckOptions &options) {
  Project project;
  CheckedData data;
  dsl::Diagnostics diags;
  Exit code = loadProject(options.spec, project, diags);
  if (code == Exit::Done)
    code = checkData(project, options.samples, data, diags);
  if (options.json) {
    Json result = {{"spec", options.spec.path},
                   {"right", code == Exit::Done},
                   {"diagnostics", Json::parse(diags.json())}};
    if (code == Exit::Done)
      result.update(asJson(project, data));
    print(result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return code;
  }
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (code == Exit::Done)
    print(options.effective ? dsl::toToml(project.spec)
                            : summary(project) + dataLines(data) + sampleLines(data));
  return code;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<CheckOptions>();
  addSpec(app, options->spec);
  app.add_flag("--effective", options->effective,
               "print the effective spec: defaults, environment and flags filled in");
  app.add_option("--samples", options->samples,
                 "print the first N samples of the data, and what of them is trained")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--json", options->json, "print the diagnostics as JSON");
  return {[options] { return needs(options->spec.path, "SPEC"); },
          [options] { return runCheck(*options); }};
}

const Command commandCheck = {
    "check", "check a spec and the files that it names",
    R"(| `check SPEC` | opens all that `train` opens (model, tokenizer, data, `init_from`, output folder) and says how many samples and tokens there are, with the first sample of each table; `--samples N` prints N samples, with what of them is trained; `--json` the same for scripts; `--effective` prints the spec with all defaults filled in, each value with its origin |)",
    add};

} // namespace lorac::tools
