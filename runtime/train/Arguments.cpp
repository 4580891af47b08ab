// CLI11 throws; nothing leaves this file.
#include "runtime/train/Arguments.h"

#include "runtime/EmptyValue.h"
#include "runtime/Say.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <sstream>

namespace lorac::train {

namespace {

/// `word` as a shell reads it back.
std::string shellQuoted(const std::string &word) {
  constexpr const char *plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos)
    return word;
  std::string out = "'";
  for (char c : word)
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// A number of the range; NaN is in none, and CLI::Range lets it pass.
CLI::Validator numberWithin(double low, double high) {
  return CLI::Validator(
      [low, high](std::string &word) {
        char *end = nullptr;
        const double value = std::strtod(word.c_str(), &end);
        return *end == 0 && value >= low && value <= high
                   ? std::string()
                   : fmt::format("'{}' is no number from {} to {}", word, low, high);
      },
      fmt::format("from {} to {}", low, high));
}

void addTraining(CLI::App &app, Arguments &args) {
  auto *group = app.add_option_group("Training");
  group->add_option("--steps", args.steps, "optimizer steps, instead of the spec's")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40))
      ->type_name("N");
  group->add_option("-o,--out", args.out, "output folder, instead of the spec's")->type_name("DIR");
  auto *resume = group->add_flag("--resume", args.resume,
                                 "go on from the newest checkpoint of the output folder");
  group->add_flag("--overwrite", args.overwrite, "replace the run in the output folder")
      ->excludes(resume);
  group->add_option("--metrics", args.metrics, "write metrics there too, as JSON lines")
      ->type_name("FILE");
  group
      ->add_option(
          "--lorac", args.lorac,
          "the lorac that builds programs when AdaLoRA's ranks have fallen [$LORAC, beside "
          "this binary, on PATH]")
      ->type_name("FILE");
  group->add_flag("--allow-fixed-ranks", args.allowFixedRanks,
                  "train where there is no lorac too: ranks fall, memory and time do not");
  group->add_option("--profile", args.profile, "write what each kernel cost, as JSON")
      ->type_name("FILE");
}

void addServing(CLI::App &app, Arguments &args, bool &eval, bool &generate) {
  auto *group = app.add_option_group("Instead of training");
  auto *evalFlag = group->add_flag("--eval", eval, "loss of each sample of the data");
  group->add_flag("--generate", generate, "text behind each --prompt")->excludes(evalFlag);
  group->add_option("--adapter", args.adapter, "an adapter in PEFT's layout [none: the base alone]")
      ->type_name("DIR");
  group->add_option("--logits", args.logits, "with --eval: write the logits, as safetensors")
      ->type_name("FILE");
  group->add_option("--samples", args.samples, "with --eval: only the first N samples")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40))
      ->type_name("N");
  group->add_option("--prompt", args.prompts, "with --generate: what to go on from (repeatable)")
      ->type_name("TEXT")
      ->type_size(1)
      ->allow_extra_args(false);
  group->add_option("--max-new-tokens", args.maxNewTokens, "at most so many tokens [64]")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 30))
      ->type_name("N");
  group
      ->add_option("--temperature", args.sampler.temperature,
                   "sample at this temperature [0: greedy]")
      ->check(numberWithin(0, 1e6))
      ->type_name("T");
  group->add_option("--top-k", args.sampler.topK, "sample from the N likeliest tokens [0: all]")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 30))
      ->type_name("N");
  group
      ->add_option("--top-p", args.sampler.topP,
                   "sample from the likeliest tokens that make up P [1]")
      ->check(numberWithin(0, 1))
      ->type_name("P");
  group
      ->add_option("--min-p", args.sampler.minP,
                   "sample from tokens with at least P of the likeliest's probability [0]")
      ->check(numberWithin(0, 1))
      ->type_name("P");
  group
      ->add_option("--repetition-penalty", args.sampler.repetitionPenalty,
                   "make tokens that the text holds less likely by this factor [1]")
      ->check(numberWithin(0.01, 100))
      ->type_name("X");
  group->add_option("--stop", args.stops, "end a text before this string (repeatable)")
      ->type_name("TEXT")
      ->type_size(1)
      ->allow_extra_args(false);
  group->add_option("--seed", args.sampler.seed, "of the sampling [0]")->type_name("N");
  group->add_flag("--json", args.json, "print JSON");
}

} // namespace

Parsed parseArguments(int argc, const char *const *argv) {
  CLI::App app("Trains the adapter that this binary was compiled for.");
  Arguments args;
  bool eval = false, doGenerate = false;
  std::vector<std::string> data;
  app.set_help_flag("-h,--help", "this help");
  app.set_version_flag("--version", std::string("lorac ") + LORAC_VERSION, "the version");
  app.add_option("--model", args.model, "the base model, instead of the spec's")->type_name("PATH");
  app.add_option("--data", data, "a data file or pattern, instead of the spec's (repeatable)")
      ->type_name("NAME=PATH")
      ->type_size(1)
      ->allow_extra_args(false);
  app.add_option("--threads", args.threads, "worker threads [all cores]")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.add_flag("--quiet", args.quiet, "no words on stderr but errors");
  addTraining(app, args);
  addServing(app, args, eval, doGenerate);
  app.footer("Exit codes: 0 done, 1 failed in work, 2 usage, 3 spec or data refused, 4 does not "
             "fit the memory,\n"
             "5 foreign file corrupt or of another model, 70 a bug of lorac, 128+n signal n.");
  auto usage = [](const std::string &message) {
    say("error: " + message + "; --help shows all arguments");
    return Parsed{std::nullopt, int(Exit::Usage), ""};
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0) {
      std::ostringstream out;
      app.exit(error, out, out);
      return {std::nullopt, 0, out.str()};
    }
    return usage(error.what());
  }
  if (std::optional<std::string> empty = emptyValue(app))
    return usage(*empty);
  args.mode = eval ? Mode::Eval : doGenerate ? Mode::Generate : Mode::Train;
  for (const std::string &entry : data) {
    size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == entry.size())
      return usage("--data needs NAME=PATH, got '" + entry + "'");
    args.data.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  if (doGenerate && args.prompts.empty())
    return usage("--generate needs --prompt");
  return {args, 0, ""};
}

std::string resumeCommand(int argc, const char *const *argv) {
  std::string out;
  bool resume = false;
  for (int i = 0; i < argc; ++i) {
    std::string word = argv[i];
    if (i > 0 && word == "--overwrite")
      continue;
    resume |= word == "--resume";
    out += (i ? " " : "") + shellQuoted(word);
  }
  return resume ? out : out + " --resume";
}

} // namespace lorac::train
