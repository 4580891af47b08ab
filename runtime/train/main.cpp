// The executable behind every train binary: reads its own payload, then trains, evaluates or
// generates.
#include "runtime/EnvironmentNames.h"
#include "runtime/Say.h"
#include "runtime/formats/DataName.h"
#include "runtime/formats/MappedFile.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Arguments.h"
#include "runtime/train/DataTokenizer.h"
#include "runtime/train/Evaluate.h"
#include "runtime/train/Generate.h"
#include "runtime/train/Heap.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Limits.h"
#include "runtime/train/MemoryPlan.h"
#include "runtime/train/OutputFile.h"
#include "runtime/train/Payload.h"
#include "runtime/train/SavePatience.h"
#include "runtime/train/Session.h"
#include "runtime/train/Signals.h"
#include "runtime/train/Trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>

namespace lorac::train {
namespace {

int fail(const Error &error) {
  say("error: " + error.message);
  return int(error.code);
}

/// What was printed, fmt's way but without its exceptions: a full disk is no bug.
template <typename... Args>
void print(fmt::format_string<Args...> format, Args &&...args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

/// The exit code of a command that has printed its last.
int printed() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout))
    return 0;
  return fail({std::string("cannot write to stdout: ") + std::strerror(errno)});
}

/// --data: the table's paths become those given.
Result<void> replaceData(RunConfig &run, const Arguments &args) {
  std::vector<std::string> replaced;
  for (const auto &[name, path] : args.data) {
    auto table = std::find_if(run.data.begin(), run.data.end(),
                              [name = name](const DataConfig &d) { return d.name == name; });
    if (table == run.data.end()) {
      std::string names;
      for (const DataConfig &d : run.data)
        names += (names.empty() ? "" : ", ") + d.name;
      return Error{"no [[data]] is named '" + name + "'; there is: " + names, Exit::Usage};
    }
    if (std::find(replaced.begin(), replaced.end(), name) == replaced.end()) {
      table->paths.clear();
      replaced.push_back(name);
    }
    table->paths.push_back(path);
    if (table->formatStated)
      continue;
    const NamedFormat named = formatOfName(path);
    if (named.format.empty())
      return Error{"--data " + name + "=" + path + ": '" + std::string(named.ending) +
                       "' is no format that is read here: " + std::string(named.mend),
                   Exit::Refused};
    table->format = named.format;
  }
  return {};
}

/// Plans the memory of the whole run and checks its limits.
Result<void> checkRunMemory(Session &session, const Payload &payload, const DataMemory &data) {
  const int threads = session.pool->threads();
  session.memory = planMemory({session.plan, session.run, threads, imageHere(payload), data});
  if (std::optional<Error> tooMuch =
          checkLimit(session.memory, session.run.memory, "target.memory", threads))
    return *tooMuch;
  if (session.plan.onGpu()) // what a GPU has is looked at where it is opened
    return {};
  const Limit<uint64_t> most = machineMemory().mostBy();
  if (std::optional<Error> tooMuch = checkLimit(session.memory, most.value, most.by, threads))
    return *tooMuch;
  return {};
}

/// Reads the data, plans the memory of the whole run with it and checks the limit.
Result<void> prepareRun(Session &session, const Payload &payload, Corpus &corpus,
                        const std::function<void(const std::string &)> &tell) {
  LORAC_TRY_ASSIGN(corpus, readCorpus(session.run.data, session.modelPath,
                                      {session.plan.vocab, session.plan.maxLength,
                                       session.plan.maxTokens, session.run.seed}));
  trimHeap();
  for (const std::string &note : corpus.notes)
    tell(note);
  for (const std::string &warning : corpus.warnings)
    tell("warning: " + warning);
  return checkRunMemory(session, payload, dataMemory(corpus));
}

int runEval(Session &session, const Corpus &corpus, const Arguments &args) {
  Result<std::vector<SampleLoss>> samples =
      evaluateSamples(session, corpus, args.logits, args.samples);
  if (!samples)
    return fail(samples.error());
  double sum = 0;
  int64_t labels = 0;
  for (const SampleLoss &sample : *samples)
    labels += sample.labels;
  if (labels == 0)
    return fail({"none of the " + std::to_string(samples->size()) +
                     " samples has a label: there is no loss to tell",
                 Exit::Refused});
  Json list = Json::array();
  for (size_t i = 0; i < samples->size(); ++i) {
    const SampleLoss &sample = (*samples)[i];
    sum += sample.sum;
    double loss = sample.labels ? sample.sum / double(sample.labels) : 0;
    if (args.json)
      list.push_back({{"sample", i},
                      {"loss", sample.labels ? Json(loss) : Json(nullptr)},
                      {"labels", sample.labels},
                      {"tokens", sample.tokens},
                      {"held_out", sample.heldOut}});
    else if (sample.labels)
      print("sample {}  loss {:.6f}  labels {}{}\n", i, loss, sample.labels,
            sample.heldOut ? "  held out" : "");
    else
      print("sample {}  no labels\n", i);
  }
  if (args.json) {
    Json json = {{"loss", sum / double(labels)}, {"labels", labels}, {"samples", list}};
    print("{}\n", json.dump(1));
  } else {
    print("loss {:.6f} over {} labels of {} samples\n", sum / double(labels), labels,
          samples->size());
  }
  return printed();
}

int runGenerate(Session &session, const Tokenizer &tokenizer, const Arguments &args) {
  Json list = Json::array();
  size_t ended = 0;
  const GenerateListener listener = {
      [&](const std::string &text) {
        if (args.json)
          return;
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      },
      [&](const Generated &made) {
        if (args.json)
          list.push_back({{"prompt", args.prompts[ended]},
                          {"text", made.text},
                          {"prompt_ids", made.promptIds},
                          {"ids", made.ids},
                          {"finish_reason", made.finish}});
        else
          print("\n");
        ++ended;
        std::fflush(stdout); // before words on stderr
        if (made.finish == "context" && !args.quiet)
          say(fmt::format("warning: the text ends at the program's train.max_length of {} tokens; "
                          "compile with a greater one for more",
                          session.plan.maxLength));
      }};
  Result<void> done = generate(session, tokenizer, args.prompts,
                               {args.maxNewTokens, args.stops, args.sampler}, listener);
  if (!done)
    return fail(done.error());
  if (int signal = stopSignal())
    return 128 + signal;
  if (args.json)
    print("{}\n", list.dump(1, ' ', false, Json::error_handler_t::replace));
  return printed();
}

/// What the command line names as outputs may be written.
Result<void> checkNamedFiles(const Arguments &args, const std::string &outDir) {
  namespace fs = std::filesystem;
  const auto whole = [](const std::string &path) {
    std::error_code ignored;
    return fs::weakly_canonical(fs::absolute(path, ignored), ignored);
  };
  if (!args.metrics.empty() && whole(args.metrics) == whole(outDir) / "metrics.jsonl")
    return Error{"--metrics '" + args.metrics + "' is the run's own metrics.jsonl: leave it out",
                 Exit::Usage};
  if (!args.metrics.empty() && !args.profile.empty() && whole(args.metrics) == whole(args.profile))
    return Error{"--metrics and --profile are both '" + args.metrics + "'; name two files",
                 Exit::Usage};
  const bool goesOn = args.resume || args.overwrite;
  LORAC_TRY(checkOutputFile(args.metrics, goesOn ? OutputKind::OwnMetrics : OutputKind::Metrics,
                            "--metrics"));
  return checkOutputFile(args.profile, OutputKind::Profile, "--profile");
}

/// A variable that looks like one of lorac's and changes nothing here.
void sayUnknownVariables(Progress &progress) {
  for (char **variable = environ; *variable; ++variable) {
    const std::string entry = *variable, name = entry.substr(0, entry.find('='));
    if (!name.starts_with(environmentPrefix) || name.starts_with(testEnvironmentPrefix))
      continue;
    const std::string_view word = std::string_view(name).substr(environmentPrefix.size());
    if (std::find(std::begin(environmentNames), std::end(environmentNames), word) ==
        std::end(environmentNames))
      progress.warn("the variable " + name +
                    " changes nothing in a compiled program; keys of the spec are set when it is "
                    "compiled");
  }
}

int run(int argc, const char *const *argv) {
  stopAtOnce();
  Parsed parsed = parseArguments(argc, argv);
  if (!parsed.arguments) {
    print("{}", parsed.text);
    return parsed.exitCode ? parsed.exitCode : printed();
  }
  const Arguments &args = *parsed.arguments;
  if (Result<void> seconds = SavePatience::check(); !seconds)
    return fail(seconds.error());
  settleHeap();
  formats::installSigbusGuard();

  Result<Payload> payload = Payload::read("/proc/self/exe");
  if (!payload)
    return fail(
        {"this program carries nothing to run: " + payload.error().message, payload.error().code});
  Result<RunConfig> config = parseRunConfig(payload->file("run.json"));
  if (!config)
    return fail(config.error());
  if (Result<void> replaced = replaceData(*config, args); !replaced)
    return fail(replaced.error());
  if (args.steps > 0) {
    config->steps = args.steps;
    config->epochs = 0;
  }
  std::string outDir = args.out.empty() ? config->outputDir : args.out;
  std::optional<RunFolder> folder;
  if (args.mode == Mode::Train) {
    if (Result<void> files = checkNamedFiles(args, outDir); !files)
      return fail(files.error());
    const RunStart start = args.resume      ? RunStart::Resume
                           : args.overwrite ? RunStart::Overwrite
                                            : RunStart::New;
    Result<RunFolder> opened = RunFolder::open(outDir, start);
    if (!opened)
      return fail(opened.error());
    folder = std::move(*opened);
  } else if (Result<void> logits = checkOutputFile(args.logits, OutputKind::Logits, "--logits");
             !logits) {
    return fail(logits.error());
  }

  Progress progress(args.quiet);
  sayUnknownVariables(progress);
  auto tell = [&](const std::string &line) { progress.say(line); };
  Corpus corpus;
  SessionOptions sessionOptions{args.model, args.threads};
  std::optional<Tokenizer> tokenizer;
  sessionOptions.prepare = [&](Session &session) -> Result<void> {
    if (args.mode != Mode::Generate && session.plan.isText)
      return Error{"this program makes text alone: add --generate", Exit::Usage};
    if (args.mode != Mode::Generate)
      return prepareRun(session, *payload, corpus, tell);
    const uint64_t before = heapInUse();
    LORAC_TRY_ASSIGN(tokenizer, loadTokenizer(session.modelPath));
    trimHeap();
    DataMemory data;
    data.tokenizerBytes = heapInUse() - std::min(before, heapInUse());
    return session.plan.isText ? checkRunMemory(session, *payload, data) : Result<void>();
  };
  auto opened = Session::open(*payload, *config, sessionOptions, tell);
  if (!opened)
    return fail(opened.error());
  Session &session = **opened;
  if (args.mode != Mode::Train && !args.adapter.empty())
    if (Result<void> loaded = session.edit([&](const TrainedFloats &trained) -> Result<void> {
          LORAC_TRY(checkAdapterBase(args.adapter, session.run, say));
          LORAC_TRY_ASSIGN(std::vector<std::string> notes,
                           loadAdapter(session.plan, trained.params, args.adapter,
                                       AdapterUse::Serve, session.run.useRslora));
          for (const std::string &note : notes)
            tell("note: " + note);
          return {};
        });
        !loaded)
      return fail(loaded.error());
  if (args.mode == Mode::Generate) {
    stopWhenAsked();
    return runGenerate(session, *tokenizer, args);
  }

  stopWhenAsked();
  if (args.mode == Mode::Eval)
    return runEval(session, corpus, args);
  std::unique_ptr<Recompiler> recompiler;
  if (config->adalora && config->adalora->prune != PruneMode::Mask) {
    Result<std::unique_ptr<Recompiler>> found =
        childRecompiler(args.lorac, *payload, buildLimits(session.plan, *payload));
    if (found)
      recompiler = std::move(*found);
    else if (stopSignal())
      return fail(found.error());
    else if (!args.allowFixedRanks)
      return fail({found.error().message +
                       "; it builds smaller programs when ranks have fallen: name one by --lorac, "
                       "or train at full size with --allow-fixed-ranks",
                   found.error().code});
    else
      tell("warning: " + found.error().message + "; memory and time will not fall with the ranks");
  }
  TrainOptions options{args.resume,
                       args.metrics,
                       args.profile,
                       resumeCommand(argc, argv),
                       payload->file("spec.toml"),
                       recompiler.get()};
  for (const std::string &name : payload->names())
    payload->release(name);
  trimHeap();
  SteadyClock clock;
  Result<TrainOutcome> outcome = train({session, corpus, *folder, options, progress, clock});
  if (!outcome) {
    progress.finish();
    return fail(outcome.error());
  }
  return outcome->signal ? 128 + outcome->signal : 0;
}

} // namespace
} // namespace lorac::train

int main(int argc, char **argv) {
  lorac::prepareProcess();
  try {
    return lorac::train::run(argc, argv);
  } catch (const std::exception &error) {
    lorac::say(std::string("error: a bug of lorac: ") + error.what());
    return int(lorac::Exit::Bug);
  }
}
