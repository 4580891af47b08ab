#include "compiler/tools/Cli.h"

#include "compiler/tools/CliArguments.h"
#include "compiler/tools/Environment.h"
#include "compiler/tools/Output.h"
#include "runtime/EmptyValue.h"

#include <functional>
#include <memory>

namespace lorac::tools {
namespace {

/// One subcommand: what it must have, and what it does once all words have been understood.
struct Command {
  CLI::App *app = nullptr;
  /// A message when something that must be there is not.
  std::function<std::string()> missing;
  std::function<Exit()> run;
};

const std::vector<ForwardedFlag> commonFlags = {
    {"--threads", "N", "worker threads [all cores]"},
    {"--model", "PATH", "the base model, instead of the spec's"},
    {"--data", "NAME=PATH", "a data file or pattern, instead of the spec's (repeatable)"},
    {"--quiet", nullptr, "no words on stderr but errors"},
};

const std::vector<ForwardedFlag> trainFlags = {
    {"--steps", "N", "optimizer steps, instead of the spec's"},
    {"--resume", nullptr, "go on from the newest checkpoint of the output folder"},
    {"--overwrite", nullptr, "replace the run in the output folder"},
    {"-o,--out", "DIR", "output folder, instead of the spec's"},
    {"--metrics", "FILE", "write metrics there too, as JSON lines"},
    {"--lorac", "FILE",
     "the lorac that builds programs when AdaLoRA's ranks have fallen [this one]"},
    {"--allow-fixed-ranks", nullptr, "train without it too: ranks fall, memory and time do not"},
    {"--profile", "FILE", "write what each kernel cost, as JSON"},
};

const std::vector<ForwardedFlag> evalFlags = {
    {"--adapter", "DIR", "an adapter in PEFT's layout [none: the base alone]"},
    {"--logits", "FILE", "write the logits, as safetensors"},
    {"--samples", "N", "only the first N samples"},
    {"--json", nullptr, "print JSON"},
};

const std::vector<ForwardedFlag> generateFlags = {
    {"--adapter", "DIR", "an adapter in PEFT's layout [none: the base alone]"},
    {"--prompt", "TEXT", "what to go on from (repeatable)"},
    {"--max-new-tokens", "N", "at most so many tokens [64]"},
    {"--temperature", "T", "sample at this temperature [0: greedy]"},
    {"--top-k", "N", "sample from the N likeliest tokens [0: all]"},
    {"--top-p", "P", "sample from the likeliest tokens that make up P [1: all]"},
    {"--seed", "N", "of the sampling"},
    {"--json", nullptr, "print JSON"},
};

std::string needs(const std::string &value, const char *what) {
  return value.empty() ? std::string(what) + " is missing" : "";
}

class CommandLine {
public:
  CommandLine()
      : root("From one TOML spec to a trained adapter: compiles the training step and runs it.",
             "lorac") {
    root.allow_extras();
    root.set_help_flag("-h,--help", "this help");
    root.add_flag("--version", version, "the version");
    root.footer("Every command has its own --help. Exit codes: 0 done, 1 failed in work, 2 usage, "
                "3 spec or data refused,\n"
                "4 does not fit the memory, 5 foreign file corrupt or of another model, 70 a bug "
                "of lorac, 128+n signal n.");
    addCheck();
    addCompileCommand();
    addRuns();
    addPlan();
    addExplain();
    addInspect();
    addExport();
    addVerify();
    addTokenize();
    addRecompile();
    addDoctor();
  }

  int run(int argc, const char *const *argv) {
    try {
      root.parse(argc, argv);
    } catch (const CLI::CallForHelp &) {
      const CLI::App *command = chosen();
      print(helpOf(command));
      return static_cast<int>(Exit::Done);
    } catch (const CLI::ParseError &error) {
      return usage(worded(error));
    }
    const CLI::App *app = chosen();
    if (auto message = unknownWords(root, app))
      return usage(*message);
    if (auto message = emptyValue(app ? *app : root))
      return usage(*message);
    if (version) {
      print("lorac " LORAC_VERSION "\n");
      return static_cast<int>(Exit::Done);
    }
    if (!app) {
      // Without a command there is nothing to do, and help is what was wanted.
      sayLine(helpOf(nullptr));
      return usage("a command is missing");
    }
    for (const Command &command : commands) {
      if (command.app != app)
        continue;
      if (std::string message = command.missing(); !message.empty())
        return usage(message);
      if (command.app->get_name() != "recompile") // a child of a run, which reads no spec
        if (Exit known = checkEnvironment(); known != Exit::Done)
          return static_cast<int>(known);
      return static_cast<int>(command.run());
    }
    return static_cast<int>(Exit::Bug);
  }

private:
  const CLI::App *chosen() const {
    auto chosen = root.get_subcommands();
    return chosen.empty() ? nullptr : chosen.front();
  }

  int usage(const std::string &message) const {
    sayError(message);
    const CLI::App *command = chosen();
    sayLine("see 'lorac " + (command ? command->get_name() + " " : "") + "--help'");
    return static_cast<int>(Exit::Usage);
  }

  std::string helpOf(const CLI::App *command) const {
    return command ? command->help(root.get_name()) : root.help();
  }

  CLI::App *subcommand(const char *name, const char *what) {
    CLI::App *app = root.add_subcommand(name, what);
    app->allow_extras();
    app->set_help_flag("-h,--help", "this help");
    app->add_flag("--version", version, "the version");
    return app;
  }

  void command(CLI::App *app, std::function<std::string()> missing, std::function<Exit()> run) {
    commands.push_back({app, std::move(missing), std::move(run)});
  }

  void addCheck() {
    CLI::App *app = subcommand("check", "check a spec and the files that it names");
    addSpec(*app, check.spec);
    app->add_flag("--effective", check.effective,
                  "print the effective spec: defaults, environment and flags filled in");
    app->add_flag("--json", check.json, "print the diagnostics as JSON");
    command(
        app, [this] { return needs(check.spec.path, "SPEC"); }, [this] { return runCheck(check); });
  }

  void addCompileCommand() {
    CLI::App *app = subcommand(
        "compile", "compile a spec: kernels, plan, dumps of every stage and the training binary");
    addCompile(*app, compile, "-o,--out");
    app->add_option("--target", compile.target, "cpu or cuda [the spec's]")
        ->type_name("NAME")
        ->check(CLI::IsMember({"cpu", "cuda"}));
    addList(*app, "--arch", compile.archs, "for cuda: compile ahead for sm_80, … (repeatable)")
        ->type_name("NAME");
    app->add_flag("--rank-per-kernel", compile.rankPerKernel,
                  "for the CPU: make each kernel for one rank, to compare with kernels for every "
                  "rank");
    app->add_flag("--json", compile.json, "print what was written as JSON");
    command(
        app,
        [this] {
          if (!compile.archs.empty() && compile.target == "cpu")
            return std::string("--arch is for --target cuda");
          return needs(compile.spec.path, "SPEC");
        },
        [this] { return runCompile(compile); });
  }

  void addRun(const char *name, const char *what, const char *mode,
              const std::vector<ForwardedFlag> &flags, const char *required) {
    auto state = std::make_shared<std::pair<RunOptions, ForwardedFlags>>();
    CLI::App *app = subcommand(name, what);
    addCompile(*app, state->first.compile, "--generated");
    state->second.add(*app, flags);
    state->second.add(*app, commonFlags);
    command(
        app,
        [state, app, required]() -> std::string {
          if (state->first.compile.spec.path.empty())
            return "SPEC is missing";
          return required && !app->count(required) ? std::string(required) + " is missing" : "";
        },
        [state, mode, name = std::string(name)] {
          RunOptions &options = state->first;
          if (*mode)
            options.arguments.push_back(mode);
          for (std::string &word : state->second.arguments())
            options.arguments.push_back(std::move(word));
          return runTrain(options);
        });
  }

  void addRuns() {
    addRun("train", "compile a spec, then train", "", trainFlags, nullptr);
    addRun("eval", "loss per sample of the spec's data, with or without an adapter", "--eval",
           evalFlags, nullptr);
    addRun("generate", "text from the model, with or without an adapter", "--generate",
           generateFlags, "--prompt");
  }

  void addPlan() {
    CLI::App *app = subcommand("plan", "memory and work of a spec, before anything runs");
    addSpec(*app, plan.compile.spec);
    app->add_option("--cpu", plan.compile.cpu, "plan for this CPU [the one at hand]")
        ->type_name("NAME");
    app->add_flag("--json", plan.compile.json, "print JSON");
    command(
        app, [this] { return needs(plan.compile.spec.path, "SPEC"); },
        [this] { return runPlan(plan); });
  }

  void addExplain() {
    CLI::App *app = subcommand(
        "explain", "what a run will do: AdaLoRA's budget by step; rates and bytes by tensor");
    addSpec(*app, explain.spec);
    app->add_flag("--json", explain.json, "print JSON, an entry a tensor");
    command(
        app, [this] { return needs(explain.spec.path, "SPEC"); },
        [this] { return runExplain(explain); });
  }

  void addInspect() {
    CLI::App *app =
        subcommand("inspect", "what a compiled folder holds: the list, one stage, or one kernel");
    app->add_option("DIR", inspect.folder, "a folder that `lorac compile` wrote")->type_name("");
    app->add_option("PART", inspect.part,
                    "a stage (30, 30-backward), a kernel or a file of the plan [none: the list]")
        ->type_name("");
    app->add_flag("--json", inspect.json, "print JSON");
    command(
        app, [this] { return needs(inspect.folder, "DIR"); },
        [this] { return runInspect(inspect); });
  }

  void addExport() {
    CLI::App *app = subcommand("export", "an adapter for other programs: PEFT or llama.cpp");
    app->add_option("ADAPTER", exporting.adapter, "an adapter in PEFT's layout")->type_name("");
    app->add_option("--format", exporting.format,
                    "peft, gguf, or peft-adalora: triplets as PEFT's AdaLoRA saves them")
        ->type_name("NAME")
        ->check(CLI::IsMember({"peft", "peft-adalora", "gguf"}));
    app->add_option("-o,--out", exporting.out,
                    "folder (peft) or file (gguf) to write [beside the adapter]")
        ->type_name("PATH");
    app->add_option("--model", exporting.model, "the base model [what the adapter names]")
        ->type_name("PATH");
    app->add_flag("--force", exporting.force, "replace an adapter of the same kind that is there");
    app->add_flag("--json", exporting.json, "print JSON");
    command(
        app,
        [this] {
          return exporting.adapter.empty() ? std::string("ADAPTER is missing")
                                           : needs(exporting.format, "--format");
        },
        [this] { return runExport(exporting); });
  }

  void addVerify() {
    CLI::App *app =
        subcommand("verify", "whether a run's files are what lorac wrote: every hash of "
                             "an output folder, its checkpoints, an export");
    app->add_option("DIR", verify.folder, "an output folder, a checkpoint or an exported folder")
        ->type_name("");
    command(
        app, [this] { return needs(verify.folder, "DIR"); }, [this] { return runVerify(verify); });
  }

  void addTokenize() {
    CLI::App *app = subcommand("tokenize", "tokens of the text on stdin");
    app->add_option("--model", tokenize.model,
                    "a GGUF file (vocabulary-only will do) or a Hugging Face directory")
        ->type_name("FILE");
    app->add_flag("--json", tokenize.json,
                  "one JSON string a line in, one JSON array of ids a line out [one text in, a "
                  "token a line out]");
    command(
        app, [this] { return needs(tokenize.model, "--model"); },
        [this] { return runTokenize(tokenize); });
  }

  void addRecompile() {
    CLI::App *app =
        subcommand("recompile", "the program of a train binary at other ranks: what a run with "
                                "AdaLoRA asks for by itself");
    app->add_option("TRAIN", recompile.program, "the training binary")->type_name("");
    app->add_option("--ranks", recompile.ranks, "a JSON object: rank by module")->type_name("FILE");
    app->add_option("-o,--out", recompile.out, "the program to write")->type_name("FILE");
    app->add_option("--dumps", recompile.dumps, "write the stages there too")->type_name("DIR");
    app->add_flag("--background", recompile.background,
                  "at low priority, and no longer than the process that started it");
    app->add_flag("--probe", recompile.probe, "print which programs this lorac makes, as JSON");
    command(
        app,
        [this] {
          return recompile.probe             ? std::string()
                 : recompile.program.empty() ? std::string("TRAIN is missing")
                 : recompile.ranks.empty()   ? std::string("--ranks is missing")
                                             : needs(recompile.out, "--out");
        },
        [this] { return runRecompile(recompile); });
  }

  void addDoctor() {
    CLI::App *app = subcommand("doctor", "what lorac finds on this machine, and what it misses");
    app->add_flag("--json", doctor.json, "print JSON");
    command(app, [] { return std::string(); }, [this] { return runDoctor(doctor); });
  }

  CLI::App root;
  bool version = false;
  std::vector<Command> commands;
  CheckOptions check;
  CompileOptions compile;
  PlanOptions plan;
  ExplainOptions explain;
  InspectOptions inspect;
  ExportOptions exporting;
  TokenizeOptions tokenize;
  VerifyOptions verify;
  DoctorOptions doctor;
  RecompileOptions recompile;
};

} // namespace

int runCommandLine(int argc, const char *const *argv) {
  CommandLine line;
  return line.run(argc, argv);
}

} // namespace lorac::tools
