#pragma once
// The spec as plain structs, one per TOML table. Every field keeps its value, where it stands and
// who set it.
//
// Defaults are those of the initialisers below. Some depend on other keys and are filled in by
// checkSpec:
//   [quantization]   table left out: format "none"; table there without `format`: "nf4"
//   warmup_steps     0 with name = "constant", with warmup_ratio, or when the run has at most 10
//   steps; else 10 eval_fraction    0 for format "tokens" (never split) packing          false for
//   format "tokens" (never packed) data.name        "data" output_dir       "out/<name of the
//   spec>"
// `train` needs `steps` or `epochs`: how long to train is truly a choice.
// Paths in `source`, `architecture`, `init_from` and `data.path` are relative to the spec;
// `output_dir` is relative to the folder in which training starts.

#include "dsl/Source.h"
#include "runtime/formats/Codebooks.h"

#include <cstdint>
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

enum class BaseFormat { None, Keep, Nf4, Fp4 };
enum class ComputeDtype { Auto, F32, Bf16, F16 };
enum class AdapterMethod { Lora, AdaLora };
enum class PruneMode { Mask, Final, Bucketed, Eager };
enum class RebuildMode { Auto, Always };
/// One for each line of Optimizers.def.
enum class OptimizerName {
#define LORAC_OPTIMIZER(Name, ...) Name,
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
};
enum class ScheduleName { Constant, Linear, Cosine };
enum class DataFormat { Text, Jsonl, Tokens, Chat, Alpaca };
enum class Overlong { Split, Truncate, Error };
enum class Device { Auto, Cpu, Cuda };

/// The words of the TOML.
std::string_view toString(BaseFormat);
/// What a base is quantized to; nothing: it stays as numbers, or as the file has it.
std::optional<formats::FourBit> codebookOf(BaseFormat);
std::string_view toString(ComputeDtype);
std::string_view toString(AdapterMethod);
std::string_view toString(PruneMode);
std::string_view toString(RebuildMode);
std::string_view toString(OptimizerName);
std::string_view toString(ScheduleName);
std::string_view toString(DataFormat);
std::string_view toString(Overlong);
std::string_view toString(Device);

/// A number, truth or word of a model's description.
using HyperValue = std::variant<bool, int64_t, double, std::string>;

struct ShapeEntry {
  std::string key; ///< the architecture's symbol, or Hugging Face's name of it
  HyperValue value;
  SourceRange keyRange, range;
};

/// `[model]`: `source`, or `architecture` and `shape` (then weights are drawn from `train.seed`).
struct ModelSpec {
  Field<std::string> source; ///< a GGUF file or a Hugging Face directory; empty: none
  Field<std::string>
      architecture; ///< a name in specs/architectures/ or a path; empty: read from the source
  Field<std::vector<ShapeEntry>> shape;
  SourceRange range; ///< of the table's header
};

struct QuantizationSpec {
  Field<BaseFormat> format{BaseFormat::None};
  Field<int64_t> blockSize{64};
  Field<bool> doubleQuant{true};
  Field<ComputeDtype> computeDtype{ComputeDtype::Auto};
  SourceRange range;
};

/// `[[adapter.rule]]`: overrides for the modules that a pattern names; the last match wins, key by
/// key.
struct AdapterRule {
  Field<std::vector<Field<std::string>>> modules;
  Field<int64_t> r; ///< 0: no adapter here; AdaLoRA: the initial rank
  Field<double> loraAlpha;
  Field<double> loraDropout;
  Field<int64_t> minR, maxR; ///< AdaLoRA: bounds of the live rank
  SourceRange range;
};

/// `[adapter.adalora.plateau]`: pruning waits or hurries by the held-out loss (docs/adalora.md).
struct PlateauSpec {
  Field<int64_t> patience{2};   ///< evaluations without progress
  Field<double> minDelta{0.01}; ///< of the held-out loss: less is no change
  Field<double> stretch{2.0};   ///< how much slower or faster
  SourceRange range;
};

/// `[adapter.adalora]`.
struct AdaLoraSpec {
  Field<int64_t> initR{12}, targetR{8}, tinit{0}, tfinal{0}, deltaT{1};
  Field<double> beta1{0.85}, beta2{0.85}, orthRegWeight{0.5};
  Field<PruneMode> prune{PruneMode::Bucketed};
  Field<RebuildMode> rebuild{RebuildMode::Auto}; ///< when what died is worth a new program
  Field<int64_t> budget{0}; ///< of parameters at the end, instead of target_r; 0: not given
  std::optional<PlateauSpec> plateau;
  SourceRange range;
};

/// `[adapter.loraplus]`: B's learning rate over A's.
struct LoraPlusSpec {
  Field<double> lrRatio{16.0};
  SourceRange range;
};

struct AdapterSpec {
  Field<AdapterMethod> method{AdapterMethod::Lora};
  Field<int64_t> r{16};
  Field<double> loraAlpha{32.0};
  Field<double> loraDropout{0.0};
  Field<bool> useRslora{false};
  Field<bool> useDora{false}; ///< a trained norm for each row of W + s·B·A
  /// "all-linear" or patterns; resolveAdapters (Adapters.h) says which modules they are.
  Field<std::vector<Field<std::string>>> targetModules{{{"all-linear"}}};
  Field<std::string> initFrom; ///< a folder in PEFT's layout or a safetensors file; empty: none
  std::vector<AdapterRule> rules;
  std::optional<AdaLoraSpec> adalora; ///< there with method = "adalora"
  std::optional<LoraPlusSpec> loraplus;
  SourceRange range;
};

/// What an optimizer takes where the spec says nothing (Optimizers.def).
struct OptimizerDefaults {
  double learningRate, beta1, beta2, eps; ///< eps 0, both betas 0: it has none
  int64_t min8bitSize;                    ///< 0: all of its states are float32
  bool hasBetas() const { return beta1 > 0 || beta2 > 0; }
};
const OptimizerDefaults &defaultsOf(OptimizerName);

/// `[optimizer]`; the defaults below are AdamW's, checkSpec fills in those of another one.
struct OptimizerSpec {
  Field<OptimizerName> name{OptimizerName::AdamW};
  Field<double> learningRate{2e-4};
  Field<double> beta1{0.9}, beta2{0.999};
  Field<double> eps{1e-8};
  Field<double> weightDecay{0.0};
  Field<double> maxGradNorm{1.0}; ///< 0: no clipping
  Field<int64_t> min8bitSize{0};  ///< elements from which on a tensor has states of 8 bits
  SourceRange range;
};

struct ScheduleSpec {
  Field<ScheduleName> name{ScheduleName::Cosine};
  Field<int64_t> warmupSteps{10};
  Field<double> warmupRatio{0.0};
  SourceRange range;
};

/// `[[data]]`.
struct DataSpec {
  Field<std::string> name{"data"};
  Field<std::vector<Field<std::string>>> path; ///< files or glob patterns, as written
  Field<DataFormat> format{DataFormat::Text};
  Field<std::string> separator{"\n%\n"}; ///< of samples in text; empty: a file is one sample
  Field<double> evalFraction{0.02};
  Field<Overlong> overlong{Overlong::Split};
  SourceRange range;
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
  Field<int64_t> evalSteps{20};     ///< 0: only before the first step and at the end
  Field<int64_t> saveSteps{20};     ///< 0: only at the end
  Field<int64_t> saveTotalLimit{0}; ///< newest checkpoints that stay, besides the best; 0: all
  Field<int64_t> loggingSteps{1};
  SourceRange range;
};

struct TargetSpec {
  Field<Device> device{Device::Auto};
  Field<int64_t> threads{0}; ///< 0: all cores
  Field<uint64_t> memory{0}; ///< bytes that PlanRecompute must fit; 0: no limit
  Field<std::vector<Field<std::string>>> arch;
  SourceRange range;
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

  /// An absolute path for one that stands in the spec ("" stays "").
  std::string resolve(const std::string &path) const;
};

} // namespace lorac::dsl
