#include "dsl/Parse.h"

#include "dsl/Check.h"
#include "dsl/Override.h"
#include "dsl/TableReader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>

namespace lorac::dsl {

namespace {

void readModel(TableReader &t, ModelSpec &model, ReadContext &context) {
  model.range = t.range();
  t.string("source", model.source);
  t.string("architecture", model.architecture);
  if (const TomlValue *shape = t.table("shape")) {
    model.shape.range = shape->range;
    for (const TomlEntry &entry : shape->entries) {
      ShapeEntry symbol{entry.key, {}, entry.keyRange, entry.value.range};
      const TomlValue &value = entry.value;
      if (value.kind == TomlValue::Kind::Integer)
        symbol.value = value.integer;
      else if (value.kind == TomlValue::Kind::Float)
        symbol.value = value.number;
      else if (value.kind == TomlValue::Kind::Boolean)
        symbol.value = value.boolean;
      else {
        context.diags.error(value.range, "'model.shape." + printable(entry.key) +
                                             "' must be a number, true or false, got " +
                                             value.describe());
        continue;
      }
      model.shape.value.push_back(std::move(symbol));
    }
  }
  t.finish();
}

void readQuantization(TableReader &t, QuantizationSpec &quantization) {
  quantization.range = t.range();
  if (quantization.range) // a table without `format` asks for the usual one
    quantization.format.value = BaseFormat::Nf4;
  t.word("format", quantization.format,
         {BaseFormat::None, BaseFormat::Keep, BaseFormat::Nf4, BaseFormat::Fp4});
  t.integer("block_size", quantization.blockSize);
  t.boolean("double_quant", quantization.doubleQuant);
  t.word("compute_dtype", quantization.computeDtype,
         {ComputeDtype::Auto, ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::F16});
  t.finish();
}

void readAdaLora(TableReader t, AdaLoraSpec &adalora, ReadContext &context) {
  adalora.range = t.range();
  t.integer("init_r", adalora.initR);
  t.integer("target_r", adalora.targetR);
  t.integer("tinit", adalora.tinit);
  t.integer("tfinal", adalora.tfinal);
  t.integer("deltaT", adalora.deltaT);
  t.number("beta1", adalora.beta1);
  t.number("beta2", adalora.beta2);
  t.number("orth_reg_weight", adalora.orthRegWeight);
  t.word("prune", adalora.prune,
         {PruneMode::Mask, PruneMode::Final, PruneMode::Bucketed, PruneMode::Eager});
  t.word("rebuild", adalora.rebuild, {RebuildMode::Auto, RebuildMode::Always});
  t.integer("budget", adalora.budget);
  const TomlValue *table = t.table("plateau");
  TableReader p(table, "adapter.adalora.plateau", context);
  PlateauSpec plateau;
  plateau.range = p.range();
  p.integer("patience", plateau.patience);
  p.number("min_delta", plateau.minDelta);
  p.number("stretch", plateau.stretch);
  p.finish();
  if (table)
    adalora.plateau = plateau;
  t.finish();
}

void readRule(TableReader t, AdapterRule &rule) {
  rule.range = t.range();
  t.strings("modules", rule.modules);
  t.integer("r", rule.r);
  t.number("lora_alpha", rule.loraAlpha);
  t.number("lora_dropout", rule.loraDropout);
  t.integer("min_r", rule.minR);
  t.integer("max_r", rule.maxR);
  t.finish();
}

void readAdapter(TableReader &t, AdapterSpec &adapter, ReadContext &context) {
  adapter.range = t.range();
  t.word("method", adapter.method, {AdapterMethod::Lora, AdapterMethod::AdaLora});
  t.integer("r", adapter.r);
  t.number("lora_alpha", adapter.loraAlpha);
  t.number("lora_dropout", adapter.loraDropout);
  t.boolean("use_rslora", adapter.useRslora);
  t.boolean("use_dora", adapter.useDora);
  t.strings("target_modules", adapter.targetModules);
  t.string("init_from", adapter.initFrom);
  for (const TomlValue *table : t.tables("rule"))
    readRule({table, "adapter.rule", context}, adapter.rules.emplace_back());
  const TomlValue *adalora = t.table("adalora");
  AdaLoraSpec adaloraSpec;
  readAdaLora({adalora, "adapter.adalora", context}, adaloraSpec, context);
  if (adalora || *adapter.method == AdapterMethod::AdaLora)
    adapter.adalora = adaloraSpec;
  const TomlValue *loraplus = t.table("loraplus");
  TableReader plus(loraplus, "adapter.loraplus", context);
  LoraPlusSpec plusSpec{{16.0}, plus.range()};
  plus.number("loraplus_lr_ratio", plusSpec.lrRatio);
  plus.finish();
  if (loraplus)
    adapter.loraplus = plusSpec;
  t.finish();
}

void readOptimizer(TableReader &t, OptimizerSpec &optimizer, ReadContext &context) {
  optimizer.range = t.range();
  t.word("name", optimizer.name,
         {
#define LORAC_OPTIMIZER(Name, ...) OptimizerName::Name,
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
         });
  t.number("learning_rate", optimizer.learningRate);
  context.askedKeys.push_back("optimizer.betas");
  if (const TomlEntry *betas = t.any("betas")) {
    const TomlValue &value = betas->value;
    auto number = [](const TomlValue &v) {
      return v.kind == TomlValue::Kind::Integer || v.kind == TomlValue::Kind::Float;
    };
    if (value.kind == TomlValue::Kind::Array && value.elements.size() == 2 &&
        number(value.elements[0]) && number(value.elements[1])) {
      auto field = [](const TomlValue &v) {
        bool integer = v.kind == TomlValue::Kind::Integer;
        return Field<double>{integer ? static_cast<double>(v.integer) : v.number, v.range};
      };
      optimizer.beta1 = field(value.elements[0]);
      optimizer.beta2 = field(value.elements[1]);
    } else {
      context.diags.error(value.range,
                          "'optimizer.betas' must be two numbers, as in [0.9, 0.999], got " +
                              value.describe());
    }
  }
  t.number("eps", optimizer.eps);
  t.number("weight_decay", optimizer.weightDecay);
  t.number("max_grad_norm", optimizer.maxGradNorm);
  t.integer("min_8bit_size", optimizer.min8bitSize);
  t.finish();
}

void readSchedule(TableReader &t, ScheduleSpec &schedule) {
  schedule.range = t.range();
  t.word("name", schedule.name,
         {ScheduleName::Constant, ScheduleName::Linear, ScheduleName::Cosine});
  t.integer("warmup_steps", schedule.warmupSteps);
  t.number("warmup_ratio", schedule.warmupRatio);
  t.finish();
}

void readData(TableReader t, DataSpec &data) {
  data.range = t.range();
  t.string("name", data.name);
  t.strings("path", data.path);
  t.word("format", data.format,
         {DataFormat::Text, DataFormat::Jsonl, DataFormat::Tokens, DataFormat::Chat,
          DataFormat::Alpaca});
  t.string("separator", data.separator);
  t.number("eval_fraction", data.evalFraction);
  t.word("overlong", data.overlong, {Overlong::Split, Overlong::Truncate, Overlong::Error});
  t.finish();
}

void readTrain(TableReader &t, TrainSpec &train) {
  train.range = t.range();
  t.string("output_dir", train.outputDir);
  t.integer("steps", train.steps);
  t.number("epochs", train.epochs);
  t.integer("batch_size", train.batchSize);
  t.integer("max_length", train.maxLength);
  t.boolean("packing", train.packing);
  t.integer("gradient_accumulation_steps", train.gradientAccumulationSteps);
  t.integer("seed", train.seed);
  t.integer("eval_steps", train.evalSteps);
  t.integer("save_steps", train.saveSteps);
  t.integer("save_total_limit", train.saveTotalLimit);
  t.integer("logging_steps", train.loggingSteps);
  t.finish();
}

// "2 GiB", "512MiB", "1.5 GB", or a number of bytes.
std::optional<uint64_t> parseBytes(std::string_view text) {
  double amount = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error != std::errc())
    return std::nullopt;
  std::string_view unit = text.substr(end - text.data());
  while (unit.starts_with(' '))
    unit.remove_prefix(1);
  static constexpr std::pair<std::string_view, double> units[] = {
      {"", 1},     {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
      {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  for (auto [word, factor] : units)
    if (unit == word && amount > 0 && amount * factor < 0x1p62)
      return static_cast<uint64_t>(amount * factor);
  return std::nullopt;
}

void readTarget(TableReader &t, TargetSpec &target, ReadContext &context) {
  target.range = t.range();
  t.word("device", target.device, {Device::Auto, Device::Cpu, Device::Cuda});
  t.integer("threads", target.threads);
  context.askedKeys.push_back("target.memory");
  if (const TomlEntry *memory = t.any("memory")) {
    const TomlValue &value = memory->value;
    std::optional<uint64_t> bytes;
    if (value.isString())
      bytes = parseBytes(value.text);
    else if (value.kind == TomlValue::Kind::Integer && value.integer > 0)
      bytes = static_cast<uint64_t>(value.integer);
    if (bytes)
      target.memory = {*bytes, value.range};
    else
      context.diags.error(value.range,
                          "'target.memory' must be an amount as in \"2 GiB\" or \"512 MiB\", got " +
                              value.describe());
  }
  t.strings("arch", target.arch);
  t.finish();
}

void readSpec(const TomlValue *root, Spec &spec, ReadContext &context) {
  TableReader t(root, "", context);
  auto table = [&](std::string_view name) {
    return TableReader(t.table(name), std::string(name), context);
  };
  auto model = table("model");
  readModel(model, spec.model, context);
  auto quantization = table("quantization");
  readQuantization(quantization, spec.quantization);
  auto adapter = table("adapter");
  readAdapter(adapter, spec.adapter, context);
  auto optimizer = table("optimizer");
  readOptimizer(optimizer, spec.optimizer, context);
  auto schedule = table("schedule");
  readSchedule(schedule, spec.schedule);
  if (root) {
    if (!root->find("data"))
      context.diags.error(root->range,
                          "no [[data]] table: name what to train on, with path = \"FILE.txt\"");
    for (const TomlValue *data : t.tables("data"))
      readData({data, "data", context}, spec.data.emplace_back());
  } else { // only to learn the keys
    DataSpec data;
    readData({nullptr, "data", context}, data);
    AdapterRule rule;
    readRule({nullptr, "adapter.rule", context}, rule);
  }
  auto train = table("train");
  readTrain(train, spec.train);
  auto target = table("target");
  readTarget(target, spec.target, context);
  t.finish();
}

std::vector<std::string> allKeys() {
  Diagnostics ignored;
  ReadContext context{ignored};
  Spec spec;
  readSpec(nullptr, spec, context);
  return context.askedKeys;
}

} // namespace

std::vector<EnvironmentKey> environmentKeys() {
  std::vector<EnvironmentKey> out;
  for (const std::string &key : allKeys()) {
    if (key.starts_with("data.") || key.starts_with("adapter.rule."))
      continue;
    std::string name = "LORAC_" + key;
    for (char &c : name)
      c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    out.push_back({key, name});
  }
  return out;
}

std::vector<Override> environmentOverrides(const std::function<const char *(const char *)> &get) {
  std::vector<Override> out;
  for (const auto &[key, name] : environmentKeys())
    if (const char *value = get(name.c_str()); value && *value)
      out.push_back({key, value, Origin::Environment, name});
  return out;
}

Spec parseSpec(const std::string &path, std::string text, const std::vector<Override> &overrides,
               Diagnostics &diags) {
  Spec spec;
  std::error_code ignored;
  std::filesystem::path at(path);
  spec.path = path;
  spec.name = at.stem().string();
  spec.directory = std::filesystem::absolute(at, ignored).parent_path().lexically_normal().string();
  spec.file = std::make_shared<SourceFile>(path, std::move(text));
  std::optional<TomlValue> root = parseToml(spec.file, diags);
  if (!root)
    return spec;
  for (const Override &override : overrides)
    applyOverride(*root, override, diags);
  ReadContext context{diags, "a spec", allKeys()};
  readSpec(&*root, spec, context);
  checkSpec(spec, diags);
  return spec;
}

Spec loadSpec(const std::string &path, const std::vector<Override> &overrides, Diagnostics &diags) {
  std::shared_ptr<const SourceFile> file = readSource(path, diags);
  return file ? parseSpec(path, file->text, overrides, diags) : Spec{};
}

} // namespace lorac::dsl
