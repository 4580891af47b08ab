#pragma once
// The spec as plain structs, one per TOML table. Every field keeps its value, where it stands and
// who set it.
//
// A key is declared here and nowhere else: its member has the type and the default, its line in
// `keys` the name, the bounds and the meaning. What reads, checks, writes and documents a spec is a
// visitor of `keys`: Parse.cpp, Check.cpp, SpecToml.cpp, SpecJson.cpp, Schema.cpp (docs/spec.md and
// the JSON Schema), and runtime/train/RunConfig.cpp, which reads run.json. A visitor has
//   v(name, field, about)       for Field<T> of bool, int64_t, double, string, an enum with Words,
//                               uint64_t (bytes), a list of texts, the entries of a shape
//   v.pair(name, first, second, about)
//   v.table(name, table, about) for a table and for std::optional of one
//   v.tables(name, list, about)
// Defaults that depend on other keys are filled in by checkSpec; About::otherwise says them.
// `train` needs `steps` or `epochs`: how long to train is truly a choice.
// Paths in `source`, `architecture`, `init_from` and `data.path` are relative to the spec;
// `output_dir` is relative to the folder in which training starts.

#include "dsl/Bounds.h"
#include "dsl/Source.h"
#include "runtime/formats/Codebooks.h"

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lorac::dsl {

template <class T>
struct Field {
  T value{};
  SourceRange range{};  ///< of the value; empty when it is a default
  bool refused = false; ///< given, but of the wrong type or no known word; `value` is the default

  /// Set by someone, in the spec or on the command line.
  bool given() const { return static_cast<bool>(range); }
  Origin origin() const { return range.file ? range.file->origin : Origin::Default; }
  const T &operator*() const { return value; }
  const T *operator->() const { return &value; }
};

/// What is said of a key or a table beside its name and its value.
struct About {
  std::string_view means; ///< for people, one sentence
  Bounds bounds{};        ///< of its number
  /// Whether the effective spec has it, by the keys that stand before it in its table (a reader has
  /// not read more). What is not written is not checked either, and has no default.
  bool written = true;
  bool inToml = true, inJson = true; ///< of those that are written
  std::string_view otherwise{};      ///< the default in words, where it depends on other keys
  std::string_view since{};          ///< the version that brought it; "": 0.1, as all others
  bool required = false;
  bool isPath = false; ///< relative to the spec; absolute where it is written
  bool stated = false; ///< run.json says so where nobody gave it, as "<key>_stated"
};

/// The words of an enum in TOML, in its order.
template <class E>
struct Words {};
template <class E>
  requires requires { Words<E>::list; }
constexpr std::string_view toString(E value) {
  return Words<E>::list[static_cast<int>(value)];
}

enum class BaseFormat { None, Keep, Nf4, Fp4 };
template <>
struct Words<BaseFormat> {
  static constexpr std::string_view list[] = {"none", "keep", "nf4", "fp4"};
};

/// What a base is quantized to; nothing: it stays as numbers, or as the file has it.
std::optional<formats::FourBit> codebookOf(BaseFormat);

enum class ComputeDtype { Auto, F32, Bf16, F16 };
template <>
struct Words<ComputeDtype> {
  static constexpr std::string_view list[] = {"auto", "f32", "bf16", "f16"};
};

enum class AdapterMethod { Lora, AdaLora };
template <>
struct Words<AdapterMethod> {
  static constexpr std::string_view list[] = {"lora", "adalora"};
};

/// When AdaLoRA's masked triplets die (docs/adalora.md).
enum class PruneMode {
  Mask,     ///< never: PEFT to the last step
  Final,    ///< as the final phase begins
  Bucketed, ///< a module keeps its live rank rounded up to 8, filled with its best masked triplets
  Eager,    ///< at each allocation
};
template <>
struct Words<PruneMode> {
  static constexpr std::string_view list[] = {"mask", "final", "bucketed", "eager"};
};

enum class RebuildMode { Auto, Always };
template <>
struct Words<RebuildMode> {
  static constexpr std::string_view list[] = {"auto", "always"};
};

/// One for each line of Optimizers.def.
enum class OptimizerName {
#define LORAC_OPTIMIZER(Name, ...) Name,
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
};
template <>
struct Words<OptimizerName> {
  static constexpr std::string_view list[] = {
#define LORAC_OPTIMIZER(Name, word, ...) word,
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
  };
};

enum class ScheduleName { Constant, Linear, Cosine };
template <>
struct Words<ScheduleName> {
  static constexpr std::string_view list[] = {"constant", "linear", "cosine"};
};

/// One for each line of DataFormats.def.
enum class DataFormatName {
#define LORAC_DATA_FORMAT(Name, word) Name,
#include "dsl/DataFormats.def"
#undef LORAC_DATA_FORMAT
};
template <>
struct Words<DataFormatName> {
  static constexpr std::string_view list[] = {
#define LORAC_DATA_FORMAT(Name, word) word,
#include "dsl/DataFormats.def"
#undef LORAC_DATA_FORMAT
  };
};

enum class Overlong { Split, Truncate, Error };
template <>
struct Words<Overlong> {
  static constexpr std::string_view list[] = {"split", "truncate", "error"};
};

enum class Device { Auto, Cpu, Cuda };
template <>
struct Words<Device> {
  static constexpr std::string_view list[] = {"auto", "cpu", "cuda"};
};

/// A number, truth or word of a model's description.
using HyperValue = std::variant<bool, int64_t, double, std::string>;

struct ShapeEntry {
  std::string key; ///< the architecture's symbol, or Hugging Face's name of it
  HyperValue value;
  SourceRange keyRange, range;
};

/// `[model]`: `source`, or `architecture` and `shape` (then weights are drawn from `train.seed`).
struct ModelSpec {
  Field<std::string> source;
  Field<std::string> architecture;
  Field<std::vector<ShapeEntry>> shape;
  SourceRange range; ///< of the table's header

  static void keys(auto &v, auto &t) {
    v("source", t.source,
      {.means = "a GGUF file or a Hugging Face folder",
       .written = t.source.given(),
       .isPath = true});
    v("architecture", t.architecture,
      {.means = "a name in specs/architectures or a path; with a source it is read from there",
       .written = t.architecture.given()});
    v("shape", t.shape,
      {.means =
           "sizes of the architecture, by its symbols or Hugging Face's names of them; without "
           "a source weights are drawn from train.seed",
       .written = !t.shape->empty()});
  }
};

struct QuantizationSpec {
  Field<BaseFormat> format{BaseFormat::None};
  Field<int64_t> blockSize{64};
  Field<bool> doubleQuant{true};
  Field<ComputeDtype> computeDtype{ComputeDtype::Auto};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("format", t.format,
      {.means = "how the frozen weights are held: none (float32), keep (the blocks of the file), "
                "nf4, fp4",
       .otherwise = "\"none\"; \"nf4\" where the table is there"});
    v("block_size", t.blockSize,
      {.means = "weights that share a scale, of nf4 and fp4", .bounds = powersOfTwo(32, 4096)});
    v("double_quant", t.doubleQuant, {.means = "scales are quantized too, of nf4 and fp4"});
    v("compute_dtype", t.computeDtype,
      {.means = "what a GPU multiplies in; the CPU multiplies in f32"});
  }
};

/// `[[adapter.rule]]`: overrides for the modules that a pattern names; the last match wins, key by
/// key.
struct AdapterRule {
  Field<std::vector<Field<std::string>>> modules;
  Field<int64_t> r;
  Field<double> loraAlpha;
  Field<double> loraDropout;
  Field<int64_t> minR, maxR;
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("modules", t.modules,
      {.means = "the modules that the rule is for, as in target_modules", .required = true});
    v("r", t.r,
      {.means = "their rank, of AdaLoRA the initial one; 0: no adapter",
       .bounds = rank(0),
       .written = t.r.given()});
    v("lora_alpha", t.loraAlpha,
      {.means = "their alpha", .bounds = above(0), .written = t.loraAlpha.given()});
    v("lora_dropout", t.loraDropout,
      {.means = "their dropout", .bounds = upTo(0, 1), .written = t.loraDropout.given()});
    v("min_r", t.minR,
      {.means = "AdaLoRA: ranks below are not reached",
       .bounds = within(0, MaxRank),
       .written = t.minR.given()});
    v("max_r", t.maxR,
      {.means = "AdaLoRA: what the rank is at most",
       .bounds = within(0, MaxRank),
       .written = t.maxR.given()});
  }
};

/// `[adapter.adalora.plateau]`: pruning waits or hurries by the held-out loss (docs/adalora.md).
struct PlateauSpec {
  Field<int64_t> patience{2};
  Field<double> minDelta{0.01};
  Field<double> stretch{2.0};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("patience", t.patience,
      {.means = "evaluations without progress", .bounds = within(1, MaxCount)});
    v("min_delta", t.minDelta,
      {.means = "a smaller change of the held-out loss is none", .bounds = atLeast(0)});
    v("stretch", t.stretch, {.means = "how much slower or faster", .bounds = above(1)});
  }
};

/// `[adapter.adalora]`.
struct AdaLoraSpec {
  Field<int64_t> initR{12}, targetR{8}, tinit{0}, tfinal{0}, deltaT{1};
  Field<double> beta1{0.85}, beta2{0.85}, orthRegWeight{0.5};
  Field<PruneMode> prune{PruneMode::Bucketed};
  Field<RebuildMode> rebuild{RebuildMode::Auto};
  Field<int64_t> budget{0};
  std::optional<PlateauSpec> plateau;
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("init_r", t.initR, {.means = "rank at the start", .bounds = within(1, MaxRank)});
    v("budget", t.budget,
      {.means = "parameters at the end, instead of target_r",
       .bounds = within(1, MaxParameters),
       .written = t.budget.given()});
    v("target_r", t.targetR,
      {.means = "rank at the end, on average over the modules",
       .bounds = within(1, MaxRank),
       .written = !t.budget.given()});
    v("tinit", t.tinit,
      {.means = "steps before ranks begin to fall", .bounds = within(0, MaxCount)});
    v("tfinal", t.tfinal,
      {.means = "steps at the end in which they stand", .bounds = within(0, MaxCount)});
    v("deltaT", t.deltaT,
      {.means = "steps from one allocation to the next", .bounds = within(1, MaxCount)});
    v("beta1", t.beta1,
      {.means = "of the average of a triplet's importance", .bounds = between(0, 1)});
    v("beta2", t.beta2, {.means = "of the average of its uncertainty", .bounds = between(0, 1)});
    v("orth_reg_weight", t.orthRegWeight,
      {.means = "weight of the term that keeps A and B orthogonal", .bounds = atLeast(0)});
    v("prune", t.prune, {.means = "what happens to masked triplets (docs/adalora.md)"});
    v("rebuild", t.rebuild,
      {.means = "when a smaller program is built: where it pays, or at each allocation in which "
                "triplets die"});
    v.table("plateau", t.plateau,
            {.means = "pruning waits or hurries by the held-out loss",
             .written = t.plateau.has_value()});
  }
};

/// `[adapter.loraplus]`.
struct LoraPlusSpec {
  Field<double> lrRatio{16.0};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("loraplus_lr_ratio", t.lrRatio, {.means = "B's learning rate over A's", .bounds = above(0)});
  }
};

struct AdapterSpec {
  Field<AdapterMethod> method{AdapterMethod::Lora};
  Field<int64_t> r{16};
  Field<double> loraAlpha{32.0};
  Field<double> loraDropout{0.0};
  Field<bool> useRslora{false};
  Field<bool> useDora{false};
  Field<bool> useGate{false};
  /// "all-linear" or patterns; resolveAdapters (Check.h) says which modules they are.
  Field<std::vector<Field<std::string>>> targetModules{{{"all-linear"}}};
  Field<std::string> initFrom;
  std::vector<AdapterRule> rules;
  std::optional<AdaLoraSpec> adalora; ///< there with method = "adalora"
  std::optional<LoraPlusSpec> loraplus;
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("method", t.method,
      {.means = "lora, or adalora: ranks fall by importance (docs/adalora.md)"});
    const bool isAdaLora = *t.method == AdapterMethod::AdaLora;
    v.table("adalora", t.adalora,
            {.means = "the schedule of method = \"adalora\"", .written = isAdaLora});
    v("r", t.r, {.means = "rank of A and B", .bounds = rank(1), .written = !isAdaLora});
    v("lora_alpha", t.loraAlpha,
      {.means = "the update is scaled by lora_alpha / r", .bounds = above(0)});
    v("lora_dropout", t.loraDropout,
      {.means = "of the adapter's input, in training", .bounds = upTo(0, 1)});
    v("use_rslora", t.useRslora, {.means = "the scale is lora_alpha / sqrt(r)"});
    v("use_dora", t.useDora,
      {.means = "DoRA: a trained norm for each row of W + s·B·A",
       .inJson = *t.useDora}); // checkpoints of before this key are still those of the same run
    v("use_gate", t.useGate,
      {.means = "gated LoRA: a trained factor for each row of the update", .inJson = *t.useGate});
    v("target_modules", t.targetModules,
      {.means = "\"all-linear\", or regular expressions that match the end of a module's name"});
    v("init_from", t.initFrom,
      {.means = "go on with this adapter: a folder in PEFT's layout or a safetensors file",
       .written = t.initFrom.given(),
       .isPath = true});
    v.tables("rule", t.rules,
             {.means = "other values for some modules; of several rules the last wins, key by key",
              .written = !t.rules.empty()});
    v.table("loraplus", t.loraplus,
            {.means = "LoRA+: B learns faster than A", .written = t.loraplus.has_value()});
  }
};

/// What an optimizer takes where the spec says nothing (Optimizers.def).
struct OptimizerDefaults {
  double learningRate, beta1, beta2, eps; ///< eps 0, both betas 0: it has none
  int64_t min8bitSize;                    ///< 0: all of its states are float32
  constexpr bool hasBetas() const { return beta1 > 0 || beta2 > 0; }
};
inline constexpr OptimizerDefaults allOptimizerDefaults[] = {
#define LORAC_OPTIMIZER(Name, word, ...) {__VA_ARGS__},
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
};
constexpr const OptimizerDefaults &defaultsOf(OptimizerName name) {
  return allOptimizerDefaults[static_cast<int>(name)];
}

/// `[optimizer]`; the defaults below are AdamW's, checkSpec fills in those of another one.
struct OptimizerSpec {
  static constexpr OptimizerDefaults adamw = defaultsOf(OptimizerName::AdamW);
  Field<OptimizerName> name{OptimizerName::AdamW};
  Field<double> learningRate{adamw.learningRate};
  Field<double> beta1{adamw.beta1}, beta2{adamw.beta2};
  Field<double> eps{adamw.eps};
  Field<double> weightDecay{0.0};
  Field<double> maxGradNorm{1.0};
  Field<int64_t> min8bitSize{adamw.min8bitSize};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    constexpr std::string_view byName = "by the optimizer";
    v("name", t.name, {.means = "with states in float32, or of large tensors in 8 bits"});
    const OptimizerDefaults &has = defaultsOf(*t.name);
    v("learning_rate", t.learningRate,
      {.means = "the rate that the schedule scales", .bounds = above(0), .otherwise = byName});
    v.pair("betas", t.beta1, t.beta2,
           {.means = "of its averages",
            .bounds = upTo(0, 1),
            .written = has.hasBetas(),
            .otherwise = byName});
    v("eps", t.eps,
      {.means = "added to the root that it divides by",
       .bounds = above(0),
       .written = has.eps > 0,
       .otherwise = byName});
    v("weight_decay", t.weightDecay, {.means = "decoupled, as in AdamW", .bounds = atLeast(0)});
    v("max_grad_norm", t.maxGradNorm,
      {.means = "the gradient's norm is clipped to it; 0: no clipping", .bounds = atLeast(0)});
    v("min_8bit_size", t.min8bitSize,
      {.means = "elements from which on a tensor has states of 8 bits",
       .bounds = within(1, MaxCount),
       .written = has.min8bitSize > 0,
       .otherwise = byName});
  }
};

struct ScheduleSpec {
  Field<ScheduleName> name{ScheduleName::Cosine};
  Field<int64_t> warmupSteps{10};
  Field<double> warmupRatio{0.0};
  Field<double> minLrRatio{0.0};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("name", t.name, {.means = "how the learning rate falls after the warm-up"});
    v("warmup_ratio", t.warmupRatio,
      {.means = "the same as a part of all steps, rounded up",
       .bounds = within(0, 1),
       .written = t.warmupRatio.given()});
    v("warmup_steps", t.warmupSteps,
      {.means = "steps in which the learning rate rises from 0",
       .bounds = within(0, MaxCount),
       .written = !t.warmupRatio.given(),
       .otherwise = "10; 0 with name = \"constant\", with warmup_ratio, and in a run of at most 10 "
                    "steps"});
    v("min_lr_ratio", t.minLrRatio,
      {.means = "the part of the learning rate to which linear and cosine fall",
       .bounds = within(0, 1),
       .written = *t.name != ScheduleName::Constant,
       .inJson =
           *t.minLrRatio != 0, // checkpoints of before this key are still those of the same run
       .since = "0.2"});
  }
};

/// `[[data]]`.
struct DataSpec {
  Field<std::string> name{"data"};
  Field<std::vector<Field<std::string>>> path;
  Field<DataFormatName> format{DataFormatName::Text};
  Field<std::string> separator{"\n%\n"};
  Field<double> evalFraction{0.02};
  Field<Overlong> overlong{Overlong::Split};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("name", t.name, {.means = "how messages and --data call it"});
    v("path", t.path, {.means = "files or patterns", .required = true, .isPath = true});
    v("format", t.format,
      {.means = "what the files hold (docs/cli.md, \"Data\")",
       .otherwise = "by the end of the file's name",
       .stated = true});
    v("separator", t.separator,
      {.means = "what stands between the samples of a text; \"\": a file is one sample",
       .inToml = *t.format == DataFormatName::Text});
    v("eval_fraction", t.evalFraction,
      {.means = "part of the samples that is held out",
       .bounds = within(0, 0.9),
       .otherwise = "0.02; 0 of format \"tokens\""});
    v("overlong", t.overlong,
      {.means = "what becomes of a sample with more than max_length tokens",
       .inToml = *t.format != DataFormatName::Tokens});
  }
};

struct TrainSpec {
  Field<std::string> outputDir;
  Field<int64_t> steps{0};   ///< 0: by epochs
  Field<double> epochs{0.0}; ///< 0: by steps
  Field<int64_t> batchSize{4};
  Field<int64_t> maxLength{256};
  Field<bool> packing{true};
  Field<int64_t> gradientAccumulationSteps{1};
  Field<int64_t> seed{7};
  Field<int64_t> evalSteps{20};
  Field<int64_t> saveSteps{20};
  Field<int64_t> saveTotalLimit{0};
  Field<int64_t> loggingSteps{1};
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("output_dir", t.outputDir,
      {.means = "where the run is written; relative to where training starts",
       .otherwise = "\"out/<name of the spec>\""});
    v("steps", t.steps,
      {.means = "how long to train: updates",
       .bounds = within(1, MaxCount),
       .written = t.steps.given()});
    v("epochs", t.epochs,
      {.means = "how long to train: times over the data, instead of steps",
       .bounds = between(0, 1e9),
       .written = t.epochs.given()});
    v("batch_size", t.batchSize, {.means = "rows of a micro-batch", .bounds = within(1, MaxCount)});
    v("max_length", t.maxLength, {.means = "tokens of a row", .bounds = within(2, MaxCount)});
    v("packing", t.packing,
      {.means = "several samples share a row, each seeing itself alone",
       .otherwise = "true; false of format \"tokens\""});
    v("gradient_accumulation_steps", t.gradientAccumulationSteps,
      {.means = "micro-batches of an update", .bounds = within(1, MaxCount)});
    v("seed", t.seed,
      {.means = "of order, dropout, held-out samples and first weights", .bounds = atLeast(0)});
    v("eval_steps", t.evalSteps,
      {.means = "updates between evaluations; 0: only before the first and at the end",
       .bounds = within(0, MaxCount)});
    v("save_steps", t.saveSteps,
      {.means = "updates between checkpoints; 0: only at the end", .bounds = within(0, MaxCount)});
    v("save_total_limit", t.saveTotalLimit,
      {.means = "newest checkpoints that stay, besides the best; 0: all",
       .bounds = within(0, MaxCount)});
    v("logging_steps", t.loggingSteps,
      {.means = "updates between lines of the log", .bounds = within(1, MaxCount)});
  }
};

struct TargetSpec {
  Field<Device> device{Device::Auto};
  Field<int64_t> threads{0};
  Field<uint64_t> memory{0}; ///< 0: no limit
  Field<std::vector<Field<std::string>>> arch;
  SourceRange range;

  static void keys(auto &v, auto &t) {
    v("device", t.device,
      {.means = "what the program is for; auto: the GPU of this machine where one answers and its "
                "architecture is known, else its CPU"});
    v("threads", t.threads, {.means = "worker threads; 0: all cores", .bounds = within(0, 1024)});
    v("memory", t.memory,
      {.means = "what a run may take, all in, as in \"2 GiB\"", .written = t.memory.given()});
    v("arch", t.arch,
      {.means = "GPUs to compile ahead for, as in \"sm_80\"", .written = t.arch.given()});
  }
};

struct Spec {
  std::string path;      ///< as given on the command line
  std::string name;      ///< the file's name without ".toml": tiny_qlora
  std::string directory; ///< absolute folder of the spec: paths are relative to it
  std::shared_ptr<const SourceFile> file;

  ModelSpec model;
  QuantizationSpec quantization;
  AdapterSpec adapter;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  std::vector<DataSpec> data;
  TrainSpec train;
  TargetSpec target;

  static void keys(auto &v, auto &t) {
    v.table("model", t.model, {.means = "what is fine-tuned", .required = true});
    v.table("quantization", t.quantization, {.means = "how its weights are held"});
    v.table("adapter", t.adapter, {.means = "what is trained beside them"});
    v.table("optimizer", t.optimizer, {.means = "how a gradient becomes an update"});
    v.table("schedule", t.schedule, {.means = "the learning rate over the steps"});
    v.tables("data", t.data, {.means = "what is trained on", .required = true});
    v.table("train", t.train, {.means = "how long, in which pieces", .required = true});
    v.table("target", t.target, {.means = "the machine that it runs on"});
  }

  /// An absolute path for one that stands in the spec ("" stays "").
  std::string resolve(const std::string &path) const;
};

} // namespace lorac::dsl
