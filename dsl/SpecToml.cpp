// The effective spec as TOML for people: every value, and who set it.

#include "dsl/Files.h"
#include "dsl/SpecJson.h"
#include "dsl/Text.h"

namespace lorac::dsl {

namespace {

std::string literal(bool value) { return value ? "true" : "false"; }
std::string literal(int64_t value) { return std::to_string(value); }

std::string literal(double value) {
  std::string text = shortest(value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string literal(std::string_view value) {
  static const char *hex = "0123456789ABCDEF";
  std::string out = "\"";
  for (char c : value) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7F)
      out += std::string("\\u00") + hex[byte >> 4] + hex[byte & 15];
    else
      out += c;
  }
  return out + "\"";
}

std::string literal(const std::vector<std::string> &values) {
  std::string out;
  for (const std::string &value : values)
    out += (out.empty() ? "" : ", ") + literal(value);
  return "[" + out + "]";
}

class Writer {
public:
  void header(const std::string &name) { out += (out.empty() ? "" : "\n") + name + "\n"; }

  void line(const std::string &key, const std::string &text, const SourceRange &range) {
    std::string line = key + " = " + text;
    if (range)
      line += std::string(line.size() < 40 ? 40 - line.size() : 1, ' ') + "# " + range.str();
    out += line + "\n";
  }

  template <class T>
  void field(const std::string &key, const Field<T> &field) {
    if constexpr (std::is_enum_v<T>)
      line(key, literal(toString(*field)), field.range);
    else
      line(key, literal(*field), field.range);
  }

  template <class T>
  void given(const std::string &key, const Field<T> &value) {
    if (value.given())
      field(key, value);
  }

  void path(const std::string &key, const Spec &spec, const Field<std::string> &field) {
    if (field.given())
      line(key, literal(spec.resolve(*field)), field.range);
  }

  std::string out;
};

std::vector<std::string> texts(const std::vector<Field<std::string>> &fields) {
  std::vector<std::string> out;
  for (const Field<std::string> &field : fields)
    out.push_back(*field);
  return out;
}

void writeModel(Writer &w, const Spec &spec) {
  w.header("[model]");
  w.path("source", spec, spec.model.source);
  w.given("architecture", spec.model.architecture);
  if (spec.model.shape->empty())
    return;
  w.header("[model.shape]");
  for (const ShapeEntry &entry : *spec.model.shape)
    std::visit([&](const auto &value) { w.line(entry.key, literal(value), entry.range); },
               entry.value);
}

void writeAdaLora(Writer &w, const AdaLoraSpec &a) {
  w.header("[adapter.adalora]");
  w.field("init_r", a.initR);
  if (a.budget.given())
    w.field("budget", a.budget);
  else
    w.field("target_r", a.targetR);
  w.field("tinit", a.tinit);
  w.field("tfinal", a.tfinal);
  w.field("deltaT", a.deltaT);
  w.field("beta1", a.beta1);
  w.field("beta2", a.beta2);
  w.field("orth_reg_weight", a.orthRegWeight);
  w.field("prune", a.prune);
  w.field("rebuild", a.rebuild);
  if (!a.plateau)
    return;
  w.header("[adapter.adalora.plateau]");
  w.field("patience", a.plateau->patience);
  w.field("min_delta", a.plateau->minDelta);
  w.field("stretch", a.plateau->stretch);
}

void writeAdapter(Writer &w, const Spec &spec) {
  const AdapterSpec &a = spec.adapter;
  w.header("[adapter]");
  w.field("method", a.method);
  if (*a.method != AdapterMethod::AdaLora)
    w.field("r", a.r);
  w.field("lora_alpha", a.loraAlpha);
  w.field("lora_dropout", a.loraDropout);
  w.field("use_rslora", a.useRslora);
  w.line("target_modules", literal(texts(*a.targetModules)), a.targetModules.range);
  w.path("init_from", spec, a.initFrom);
  if (*a.method == AdapterMethod::AdaLora)
    writeAdaLora(w, *a.adalora);
  if (a.loraplus) {
    w.header("[adapter.loraplus]");
    w.field("loraplus_lr_ratio", a.loraplus->lrRatio);
  }
  for (const AdapterRule &rule : a.rules) {
    w.header("[[adapter.rule]]");
    w.line("modules", literal(texts(*rule.modules)), rule.modules.range);
    w.given("r", rule.r);
    w.given("lora_alpha", rule.loraAlpha);
    w.given("lora_dropout", rule.loraDropout);
    w.given("min_r", rule.minR);
    w.given("max_r", rule.maxR);
  }
}

void writeData(Writer &w, const Spec &spec, const DataSpec &d) {
  w.header("[[data]]");
  w.field("name", d.name);
  std::vector<std::string> paths;
  for (const Field<std::string> &path : *d.path)
    paths.push_back(dataPattern(spec, *path));
  w.line("path", literal(paths), d.path.range);
  w.field("format", d.format);
  if (*d.format == DataFormat::Text)
    w.field("separator", d.separator);
  w.field("eval_fraction", d.evalFraction);
  if (*d.format != DataFormat::Tokens)
    w.field("overlong", d.overlong);
}

void writeTrain(Writer &w, const TrainSpec &t) {
  w.header("[train]");
  w.field("output_dir", t.outputDir);
  w.given("steps", t.steps);
  w.given("epochs", t.epochs);
  w.field("batch_size", t.batchSize);
  w.field("max_length", t.maxLength);
  w.field("packing", t.packing);
  w.field("gradient_accumulation_steps", t.gradientAccumulationSteps);
  w.field("seed", t.seed);
  w.field("eval_steps", t.evalSteps);
  w.field("save_steps", t.saveSteps);
  w.field("save_total_limit", t.saveTotalLimit);
  w.field("logging_steps", t.loggingSteps);
}

} // namespace

std::string toToml(const Spec &spec) {
  Writer w;
  writeModel(w, spec);
  const QuantizationSpec &q = spec.quantization;
  w.header("[quantization]");
  w.field("format", q.format);
  w.field("block_size", q.blockSize);
  w.field("double_quant", q.doubleQuant);
  w.field("compute_dtype", q.computeDtype);
  writeAdapter(w, spec);
  const OptimizerSpec &o = spec.optimizer;
  w.header("[optimizer]");
  w.field("name", o.name);
  w.field("learning_rate", o.learningRate);
  const OptimizerDefaults &defaults = defaultsOf(*o.name);
  if (defaults.hasBetas())
    w.line("betas", "[" + literal(*o.beta1) + ", " + literal(*o.beta2) + "]", o.beta1.range);
  if (defaults.eps > 0)
    w.field("eps", o.eps);
  w.field("weight_decay", o.weightDecay);
  w.field("max_grad_norm", o.maxGradNorm);
  if (defaults.min8bitSize > 0)
    w.field("min_8bit_size", o.min8bitSize);
  const ScheduleSpec &s = spec.schedule;
  w.header("[schedule]");
  w.field("name", s.name);
  if (s.warmupRatio.given())
    w.field("warmup_ratio", s.warmupRatio);
  else
    w.field("warmup_steps", s.warmupSteps);
  for (const DataSpec &d : spec.data)
    writeData(w, spec, d);
  writeTrain(w, spec.train);
  const TargetSpec &t = spec.target;
  w.header("[target]");
  w.field("device", t.device);
  w.field("threads", t.threads);
  if (t.memory.given())
    w.line("memory", literal(static_cast<int64_t>(*t.memory)), t.memory.range);
  if (t.arch.given())
    w.line("arch", literal(texts(*t.arch)), t.arch.range);
  return w.out;
}

} // namespace lorac::dsl
