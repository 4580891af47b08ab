// run.json: what the runtime reads of a spec.

#include "dsl/SpecJson.h"

#include "dsl/Check.h"
#include "dsl/Files.h"

#include <nlohmann/json.hpp>

namespace lorac::dsl {

namespace {

using Json = nlohmann::ordered_json;

Json list(const std::vector<Field<std::string>> &values) {
  Json out = Json::array();
  for (const Field<std::string> &value : values)
    out.push_back(*value);
  return out;
}

Json model(const Spec &spec) {
  Json out = Json::object();
  if (spec.model.source.given())
    out["source"] = spec.resolve(*spec.model.source);
  if (spec.model.architecture.given())
    out["architecture"] = *spec.model.architecture;
  for (const ShapeEntry &entry : *spec.model.shape)
    std::visit([&](const auto &value) { out["shape"][entry.key] = value; }, entry.value);
  return out;
}

Json adalora(const AdaLoraSpec &a) {
  Json out;
  out["init_r"] = *a.initR;
  if (a.budget.given())
    out["budget"] = *a.budget;
  else
    out["target_r"] = *a.targetR;
  out["tinit"] = *a.tinit;
  out["tfinal"] = *a.tfinal;
  out["deltaT"] = *a.deltaT;
  out["beta1"] = *a.beta1;
  out["beta2"] = *a.beta2;
  out["orth_reg_weight"] = *a.orthRegWeight;
  out["prune"] = toString(*a.prune);
  out["rebuild"] = toString(*a.rebuild);
  if (const auto &plateau = a.plateau)
    out["plateau"] = {{"patience", *plateau->patience},
                      {"min_delta", *plateau->minDelta},
                      {"stretch", *plateau->stretch}};
  return out;
}

Json adapter(const Spec &spec) {
  const AdapterSpec &a = spec.adapter;
  Json out;
  out["method"] = toString(*a.method);
  if (*a.method == AdapterMethod::AdaLora)
    out["adalora"] = adalora(*a.adalora);
  else
    out["r"] = *a.r;
  out["lora_alpha"] = *a.loraAlpha;
  out["lora_dropout"] = *a.loraDropout;
  out["use_rslora"] = *a.useRslora;
  bool one = a.targetModules->size() == 1;
  out["target_modules"] = one && *a.targetModules->front() == "all-linear" ? Json("all-linear")
                                                                           : list(*a.targetModules);
  if (a.initFrom.given())
    out["init_from"] = spec.resolve(*a.initFrom);
  for (const AdapterRule &rule : a.rules) {
    Json entry;
    entry["modules"] = list(*rule.modules);
    if (rule.r.given())
      entry["r"] = *rule.r;
    if (rule.loraAlpha.given())
      entry["lora_alpha"] = *rule.loraAlpha;
    if (rule.loraDropout.given())
      entry["lora_dropout"] = *rule.loraDropout;
    if (rule.minR.given())
      entry["min_r"] = *rule.minR;
    if (rule.maxR.given())
      entry["max_r"] = *rule.maxR;
    out["rule"].push_back(std::move(entry));
  }
  if (a.loraplus)
    out["loraplus"] = {{"loraplus_lr_ratio", *a.loraplus->lrRatio}};
  return out;
}

Json train(const Spec &spec) {
  const TrainSpec &t = spec.train;
  Json out;
  out["output_dir"] = *t.outputDir;
  if (t.epochs.given())
    out["epochs"] = *t.epochs;
  else
    out["steps"] = *t.steps;
  out["batch_size"] = *t.batchSize;
  out["max_length"] = *t.maxLength;
  out["packing"] = *t.packing;
  out["gradient_accumulation_steps"] = *t.gradientAccumulationSteps;
  out["seed"] = *t.seed;
  out["eval_steps"] = *t.evalSteps;
  out["save_steps"] = *t.saveSteps;
  out["save_total_limit"] = *t.saveTotalLimit;
  out["logging_steps"] = *t.loggingSteps;
  return out;
}

Json data(const Spec &spec) {
  Json out = Json::array();
  for (const DataSpec &d : spec.data) {
    Json entry;
    entry["name"] = *d.name;
    entry["path"] = Json::array();
    for (const Field<std::string> &path : *d.path)
      entry["path"].push_back(dataPattern(spec, *path));
    entry["format"] = toString(*d.format);
    if (!d.format.given())
      entry["format_stated"] = false;
    entry["separator"] = *d.separator;
    entry["eval_fraction"] = *d.evalFraction;
    entry["overlong"] = toString(*d.overlong);
    out.push_back(std::move(entry));
  }
  return out;
}

} // namespace

std::string toJson(const Spec &spec) {
  Json out;
  out["spec"] = spec.name;
  out["spec_dir"] = spec.directory;
  out["model"] = model(spec);
  const QuantizationSpec &q = spec.quantization;
  out["quantization"] = {{"format", toString(*q.format)},
                         {"block_size", *q.blockSize},
                         {"double_quant", *q.doubleQuant},
                         {"compute_dtype", toString(*q.computeDtype)}};
  out["adapter"] = adapter(spec);
  const OptimizerSpec &o = spec.optimizer;
  const OptimizerDefaults &defaults = defaultsOf(*o.name);
  out["optimizer"] = {{"name", toString(*o.name)}, {"learning_rate", *o.learningRate}};
  if (defaults.hasBetas())
    out["optimizer"]["betas"] = {*o.beta1, *o.beta2};
  if (defaults.eps > 0)
    out["optimizer"]["eps"] = *o.eps;
  out["optimizer"]["weight_decay"] = *o.weightDecay;
  out["optimizer"]["max_grad_norm"] = *o.maxGradNorm;
  if (defaults.min8bitSize > 0)
    out["optimizer"]["min_8bit_size"] = *o.min8bitSize;
  const ScheduleSpec &s = spec.schedule;
  out["schedule"] = {{"name", toString(*s.name)}};
  if (s.warmupRatio.given())
    out["schedule"]["warmup_ratio"] = *s.warmupRatio;
  else
    out["schedule"]["warmup_steps"] = *s.warmupSteps;
  out["data"] = data(spec);
  out["train"] = train(spec);
  const TargetSpec &t = spec.target;
  out["target"] = {{"device", toString(*t.device)}, {"threads", *t.threads}};
  if (t.memory.given())
    out["target"]["memory"] = *t.memory;
  if (t.arch.given())
    out["target"]["arch"] = list(*t.arch);
  // Texts come from UTF-8 TOML; names of files may be any bytes and must not throw.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace lorac::dsl
