#include "dsl/Check.h"

#include "dsl/ModulePattern.h"
#include "dsl/Text.h"
#include "runtime/formats/DataName.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace lorac::dsl {

namespace {

/// A visitor (Spec.h): numbers that were given lie within their bounds, or are refused.
class BoundsCheck {
public:
  BoundsCheck(std::string name, Diagnostics &diags) : name(std::move(name)), diags(diags) {}

  void operator()(const char *key, Field<int64_t> &field, const About &about) {
    check(key, field, about);
  }
  void operator()(const char *key, Field<double> &field, const About &about) {
    check(key, field, about);
  }
  void operator()(const char *, auto &, const About &) {}
  void pair(const char *key, Field<double> &first, Field<double> &second, const About &about) {
    check(key, first, about);
    check(key, second, about);
  }
  template <class T>
  void table(const char *key, T &table, const About &about) {
    if (about.written) {
      BoundsCheck inner(full(key), diags);
      T::keys(inner, table);
    }
  }
  template <class T>
  void table(const char *key, std::optional<T> &table, const About &about) {
    if (table)
      this->table(key, *table, about);
  }
  template <class T>
  void tables(const char *key, std::vector<T> &tables, const About &about) {
    for (T &table : tables)
      this->table(key, table, about);
  }

private:
  std::string full(const char *key) const { return (name.empty() ? "" : name + ".") + key; }

  template <class T>
  void check(const char *key, Field<T> &field, const About &about) {
    const Bounds &b = about.bounds;
    if (!about.written || !field.given() || field.refused || b.fit(*field))
      return;
    field.refused = true;
    auto number = [](double bound) { return shown(static_cast<T>(bound)); };
    const std::string got = ", got " + shown(*field);
    const bool isLow = static_cast<double>(*field) < b.low;
    if (b.kind == Bounds::Kind::Rank) {
      Diagnostic &error = diags.error(field.range, "rank must be " +
                                                       (!isLow       ? "at most " + number(b.high)
                                                        : b.low == 0 ? "0 or positive"
                                                                     : std::string("positive")) +
                                                       got);
      if (b.low > 0 && *field == 0)
        error.note("for no adapter on some modules, write r = 0 in an [[adapter.rule]]");
      return;
    }
    std::string want;
    if (b.kind == Bounds::Kind::PowerOfTwo)
      want = "a power of two from " + number(b.low) + " to " + number(b.high);
    else if (std::isinf(b.high))
      want = (b.lowIn ? "at least " : "greater than ") + number(b.low);
    else if (!b.highIn)
      want = (b.lowIn ? "in [" : "in (") + number(b.low) + ", " + number(b.high) + ")";
    else if (*field != *field)
      want = "a number";
    else
      want = isLow ? "at least " + number(b.low) : "at most " + number(b.high);
    diags.error(field.range, "'" + full(key) + "' must be " + want + got);
  }

  std::string name;
  Diagnostics &diags;
};

class Checker {
public:
  Checker(Spec &spec, Diagnostics &diags) : spec(spec), diags(diags) {}

  void run() {
    if (*spec.adapter.method == AdapterMethod::AdaLora && !spec.adapter.adalora)
      spec.adapter.adalora.emplace();
    BoundsCheck bounds("", diags);
    Spec::keys(bounds, spec);
    model();
    quantization();
    adapter();
    optimizer();
    train();
    schedule();
    data();
    target();
    checkAdaLora(spec, diags); // behind train and data: it needs what they fill in
  }

private:
  SourceRange start() const { return {spec.file, 1, 1, 1, 1}; }

  void model() {
    const ModelSpec &m = spec.model;
    if (!m.range) {
      diags.error(start(), "no [model] table: name the model with source = \"FILE.gguf\"");
      return;
    }
    if (m.source.given() && !m.source.refused && m.source->empty())
      diags.error(m.source.range,
                  "'model.source' is empty: name a GGUF file or a Hugging Face directory");
    if (m.architecture.given() && !m.architecture.refused && m.architecture->empty())
      diags.error(m.architecture.range, "'model.architecture' is empty: name one, as in \"llama\"");
    std::set<std::string> seen;
    for (const ShapeEntry &entry : *m.shape)
      if (!seen.insert(entry.key).second)
        diags.error(entry.keyRange, "'model.shape." + entry.key + "' is given twice");
    if (m.source.given())
      return;
    if (!m.architecture.given() || !m.shape.given())
      diags.error(
          m.range,
          "[model] needs 'source', or 'architecture' and 'shape' for weights drawn from the seed");
    else if (spec.quantization.format.value == BaseFormat::Keep)
      diags.error(spec.quantization.format.range,
                  "'quantization.format' = \"keep\" needs a 'model.source': drawn weights have no "
                  "blocks to keep");
  }

  void quantization() {
    QuantizationSpec &q = spec.quantization;
    if (q.range && !q.format.given()) // a table without `format` asks for the usual one
      q.format.value = BaseFormat::Nf4;
    bool sixteenBit = *q.computeDtype == ComputeDtype::Bf16 || *q.computeDtype == ComputeDtype::F16;
    if (sixteenBit && *spec.target.device != Device::Cuda)
      diags.error(q.computeDtype.range,
                  "'quantization.compute_dtype' = \"" + std::string(toString(*q.computeDtype)) +
                      "\" is refused on cpu: its kernels multiply in f32, and 16-bit would only "
                      "round; write \"auto\" or \"f32\"");
  }

  void patterns(const std::string &key, const std::vector<Field<std::string>> &list) {
    for (const Field<std::string> &text : list) {
      std::string error;
      if (text->empty())
        diags.error(text.range, "'" + key + "' has an empty pattern");
      else if (!ModulePattern::compile(*text, error))
        diags.error(text.range, "'" + printable(*text) + "' is not a regular expression: " + error);
    }
  }

  void adapter() {
    const AdapterSpec &a = spec.adapter;
    patterns("adapter.target_modules", *a.targetModules);
    if (a.initFrom.given() && !a.initFrom.refused && a.initFrom->empty())
      diags.error(a.initFrom.range,
                  "'adapter.init_from' is empty: name an adapter's folder or leave it out");
    if (*a.useGate && *a.useDora)
      diags.error(a.useGate.range, "'use_gate' and 'use_dora' are both true: keep one")
          .note(a.useDora.range, "'use_dora' is here");
    for (const AdapterRule &rule : a.rules) {
      if (!rule.modules.given())
        diags.error(rule.range,
                    "a rule needs 'modules': the pattern of the modules that it is for");
      else if (!rule.r.given() && !rule.loraAlpha.given() && !rule.loraDropout.given() &&
               !rule.minR.given() && !rule.maxR.given())
        diags.error(rule.range,
                    "a rule that changes nothing: give it 'r', 'lora_alpha' or 'lora_dropout'");
      patterns("adapter.rule.modules", *rule.modules);
    }
  }

  void optimizer() {
    OptimizerSpec &o = spec.optimizer;
    const OptimizerDefaults &defaults = defaultsOf(*o.name);
    for (auto [field, value] : {std::pair(&o.learningRate, defaults.learningRate),
                                {&o.beta1, defaults.beta1},
                                {&o.beta2, defaults.beta2},
                                {&o.eps, defaults.eps}})
      if (!field->given())
        field->value = value;
    if (!o.min8bitSize.given())
      o.min8bitSize.value = defaults.min8bitSize;
    auto has = [&](bool itHas, const auto &field, const std::string &key, const std::string &it) {
      if (!itHas && field.given())
        diags.error(field.range, "'optimizer." + key + "' says nothing to " +
                                     std::string(toString(*o.name)) + ", " + it + ": leave it out");
    };
    has(defaults.hasBetas(), o.beta1, "betas", "which keeps no average");
    has(defaults.eps > 0, o.eps, "eps", "which divides by no root");
    has(defaults.min8bitSize > 0, o.min8bitSize, "min_8bit_size", "whose states are float32");
  }

  void train() {
    TrainSpec &t = spec.train;
    if (!t.range)
      diags.error(start(),
                  "no [train] table: say how long to train, with steps = 60 or epochs = 1");
    else if (!t.steps.given() && !t.epochs.given())
      diags.error(t.range, "[train] needs 'steps' or 'epochs'");
    else if (t.steps.given() && t.epochs.given())
      diags.error(t.epochs.range, "'steps' and 'epochs' are both given: keep one")
          .note(t.steps.range, "'steps' is here");
    const bool sizes = !t.batchSize.refused && !t.maxLength.refused;
    if (sizes && t.batchSize.value * t.maxLength.value > (int64_t(1) << 26))
      diags.error(t.maxLength.given() ? t.maxLength.range : t.batchSize.range,
                  "a batch of " + shown(t.batchSize.value) + " x " + shown(t.maxLength.value) +
                      " tokens is more than 67108864: lower 'batch_size' or 'max_length'");
    if (t.outputDir.given() && !t.outputDir.refused && t.outputDir->empty())
      diags.error(t.outputDir.range, "'train.output_dir' is empty: name a folder or leave it out");
    if (!t.outputDir.given())
      t.outputDir.value = "out/" + spec.name;
  }

  void schedule() {
    ScheduleSpec &s = spec.schedule;
    const TrainSpec &t = spec.train;
    if (s.warmupSteps.given() && s.warmupRatio.given())
      diags.error(s.warmupRatio.range, "'warmup_steps' and 'warmup_ratio' are both given: keep one")
          .note(s.warmupSteps.range, "'warmup_steps' is here");
    if (*s.name == ScheduleName::Constant && s.minLrRatio.given())
      diags.error(s.minLrRatio.range,
                  "'schedule.min_lr_ratio' says nothing to name = \"constant\", "
                  "whose rate does not fall: leave it out");
    bool isShort = t.steps.given() && !t.steps.refused && t.steps.value <= s.warmupSteps.value;
    if (!s.warmupSteps.given()) {
      if (*s.name == ScheduleName::Constant || s.warmupRatio.given() || isShort)
        s.warmupSteps.value = 0;
    } else if (isShort && t.steps.value > 0 && s.warmupSteps.value > 0) {
      diags.warning(s.warmupSteps.range, "the warm-up of " + shown(s.warmupSteps.value) +
                                             " steps does not end within the " +
                                             shown(t.steps.value) + " of the run");
    }
  }

  void data() {
    for (size_t i = 1; i < spec.data.size(); ++i)
      diags.error(spec.data[i].range, "a second [[data]] table is known, not in this version")
          .note("one table may list several files: path = [\"a\", \"b\"]");
    for (DataSpec &d : spec.data)
      oneData(d);
  }

  void oneData(DataSpec &d) {
    bool good = !d.name->empty() && d.name->size() <= 64 &&
                std::all_of(d.name->begin(), d.name->end(), [](unsigned char c) {
                  return std::isalnum(c) || c == '_' || c == '-' || c == '.';
                });
    if (!good)
      diags.error(d.name.range,
                  "'data.name' must be letters, digits, '_', '-' or '.', at most 64, got \"" +
                      printable(*d.name) + "\"");
    if (!d.path.given())
      diags.error(d.range, "[[data]] needs 'path': a file, a pattern or a list");
    for (const Field<std::string> &path : *d.path)
      if (path->empty() || path->find('\0') != std::string::npos)
        diags.error(path.range,
                    "'data.path' must be the name of a file, got \"" + printable(*path) + "\"");
    if (!d.format.given())
      nameFormat(d);
    if (*d.format != DataFormatName::Text && d.separator.given())
      diags.warning(d.separator.range, "'data.separator' is only for format = \"text\"");
    if (*d.format == DataFormatName::Tokens)
      tokens(d);
    const Field<int64_t> &every = spec.train.evalSteps;
    if (every.given() && !every.refused && *every > 0 && !d.evalFraction.refused &&
        *d.evalFraction == 0) {
      const bool isTokens = *d.format == DataFormatName::Tokens;
      Diagnostic &warning =
          diags.warning(every.range, std::string("'train.eval_steps' has no effect: nothing is "
                                                 "held out") +
                                         (isTokens ? " of data of format \"tokens\"" : ""));
      if (!isTokens)
        warning.note(d.evalFraction.range, "'data.eval_fraction' is 0 here");
    }
  }

  /// The format that the files' names say, where none is given.
  void nameFormat(DataSpec &d) {
    const Field<std::string> *first = nullptr;
    for (const Field<std::string> &path : *d.path) {
      const NamedFormat named = formatOfName(*path);
      if (named.format.empty()) {
        diags.error(path.range,
                    "'" + printable(*path, 300) + "' ends with '" + std::string(named.ending) +
                        "', which is no format that is read here: " + std::string(named.mend));
        return;
      }
      const DataFormatName format = named.format == "jsonl"    ? DataFormatName::Jsonl
                                    : named.format == "tokens" ? DataFormatName::Tokens
                                                               : DataFormatName::Text;
      if (first && format != d.format.value) {
        diags
            .error(path.range, "the files' names say two formats: this one \"" +
                                   std::string(toString(format)) + "\"; set 'data.format'")
            .note(first->range, "this one \"" + std::string(toString(*d.format)) + "\"");
        return;
      }
      first = &path;
      d.format.value = format;
    }
  }

  void tokens(DataSpec &d) {
    Field<bool> &packing = spec.train.packing;
    if (packing.given() && *packing)
      diags
          .error(packing.range, "'train.packing' must be false for data of format \"tokens\": it "
                                "is taken batch by batch "
                                "as it stands")
          .note(d.format.range, "the format is given here");
    packing.value = false;
    if (d.evalFraction.given() && *d.evalFraction != 0)
      diags.error(
          d.evalFraction.range,
          "'data.eval_fraction' must be 0 for format \"tokens\": its batches are never split");
    d.evalFraction.value = 0;
    if (d.overlong.given() && *d.overlong != Overlong::Error)
      diags.warning(d.overlong.range, "'data.overlong' has no meaning for format \"tokens\"");
  }

  void target() {
    const TargetSpec &t = spec.target;
    for (const Field<std::string> &arch : *t.arch) {
      const std::string &word = *arch;
      bool good = word.starts_with("sm_") && word.size() >= 5 && word.size() <= 7 &&
                  std::isdigit(static_cast<unsigned char>(word[3])) &&
                  std::isdigit(static_cast<unsigned char>(word[4]));
      if (!good)
        diags.error(arch.range,
                    "'target.arch' names compute architectures as in \"sm_80\", got \"" +
                        printable(word) + "\"");
    }
  }

  Spec &spec;
  Diagnostics &diags;
};

} // namespace

void checkModel(const Spec &spec, const BoundModel &model, Diagnostics &diags) {
  const Field<int64_t> &length = spec.train.maxLength;
  if (model.maxPositions > 0 && *length > model.maxPositions)
    diags.error(length.given() ? length.range : spec.train.range,
                "'train.max_length' is " + shown(*length) + ", but the model has " +
                    shown(model.maxPositions) + " positions");
}

void checkSpec(Spec &spec, Diagnostics &diags) { Checker(spec, diags).run(); }

} // namespace lorac::dsl
