#include "runtime/train/ModelCard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace lorac::train {

namespace {

namespace fs = std::filesystem;

std::string scheduleText(const ScheduleCurve &curve) {
  const std::string name(toString(curve.kind));
  return curve.floor > 0 ? fmt::format("{} to {} of it", name, curve.floor) : name;
}

/// A YAML string in double quotes.
std::string yaml(const std::string &text) {
  std::string out = "\"";
  for (char c : text)
    if (uint8_t(c) >= 0x20)
      (out += c == '"' || c == '\\' ? "\\" : "") += c;
  return out + "\"";
}

std::string loss(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : fmt::format("{}", value);
}

std::string methodOf(const RunConfig &run) {
  std::string method = run.adalora     ? "AdaLoRA"
                       : run.useDora   ? "DoRA"
                       : run.useGate   ? "Gated LoRA"
                       : run.useRslora ? "rsLoRA"
                                       : "LoRA";
  if ((run.useDora || run.useGate) && run.useRslora)
    method += " with rsLoRA's scale";
  if (run.loraPlusRatio == 1)
    return method;
  return method == "LoRA" ? "LoRA+" : method + " with LoRA+'s rates";
}

/// The ranks that the adapter has: one, or the range, with what AdaLoRA began with.
std::string ranksOf(const formats::Adapter &adapter, const RunConfig &run) {
  int64_t least = 0, most = 0, sum = 0;
  for (const formats::AdapterModule &module : adapter.modules) {
    least = sum ? std::min(least, module.rank) : module.rank;
    most = std::max(most, module.rank);
    sum += module.rank;
  }
  std::string text = least == most ? std::to_string(most) : fmt::format("{} to {}", least, most);
  if (run.adalora)
    text += fmt::format(", {} in all, from {} a module at the start", sum, run.r);
  return text;
}

} // namespace

std::string modelCard(const formats::Adapter &adapter, const RunConfig &run,
                      const TrainerState &state, const CardFacts &facts) {
  const std::string method = methodOf(run);
  std::string card =
      fmt::format("---\nbase_model: {}\nlibrary_name: peft\npipeline_tag: text-generation\n"
                  "tags:\n- lora\n- lorac\n---\n\n",
                  yaml(facts.baseModel));
  card += fmt::format("# {} adapter\n\nTrained by lorac {} from `{}` on `{}`.\n\n", method,
                      LORAC_VERSION, fs::path(run.spec).filename().string(), facts.baseModel);
  if (run.useGate)
    card += "## Use\n\nPEFT does not know this method: `lorac eval` and `lorac generate` take the "
            "folder by --adapter.\n\n";
  else
    card +=
        "## Use\n\n```python\nfrom peft import PeftModel\nfrom transformers import "
        "AutoModelForCausalLM\n\nbase = AutoModelForCausalLM.from_pretrained(BASE)  # the model "
        "named "
        "above, in Hugging Face's format\nmodel = PeftModel.from_pretrained(base, "
        "\"path/to/this/folder\")\n```\n\n";
  card += "## Data\n\n";
  for (const std::string &note : facts.dataNotes)
    card += "- " + note + "\n";
  card += "\n## Training\n\n| | |\n|---|---|\n";
  auto row = [&](const char *key, const std::string &value) {
    card += fmt::format("| {} | {} |\n", key, value);
  };
  row(run.adalora ? "ranks" : "rank", ranksOf(adapter, run));
  row("alpha", fmt::format("{}", run.loraAlpha));
  row("adapted modules", std::to_string(adapter.modules.size()));
  row("trained parameters", std::to_string(facts.trainable));
  row("dropout", fmt::format("{}", run.loraDropout));
  if (run.loraPlusRatio != 1)
    row(run.useDora ? "learning rate of B and magnitudes over A" : "learning rate of B over A",
        fmt::format("{}", run.loraPlusRatio));
  row("steps", fmt::format("{} of {}", state.step, state.totalSteps));
  row("batch", fmt::format("{} x {} tokens, {} micro-batches a step{}", run.batchSize,
                           run.maxLength, run.accumulation, run.packing ? ", packed" : ""));
  row("learning rate", fmt::format("{} ({})", run.learningRate, scheduleText(run.schedule)));
  row("optimizer",
      fmt::format("{}: {}{}weight decay {}", run.optimizer,
                  run.betas.empty() ? "" : fmt::format("betas {}; ", fmt::join(run.betas, ", ")),
                  run.eps > 0 ? fmt::format("eps {}; ", run.eps) : "", run.weightDecay));
  row("gradient norm at most",
      run.maxGradNorm > 0 ? fmt::format("{}", run.maxGradNorm) : "not clipped");
  row("seed", std::to_string(run.seed));
  row("tokens seen", std::to_string(state.tokensSeen));
  row("time", fmt::format("{:.0f} s", facts.seconds));
  card += "\n## Losses\n\n";
  card += fmt::format("Training loss {} at the first step, {} at the last.\n",
                      loss(state.firstLoss), loss(state.lastLoss));
  if (!state.evals.empty()) {
    card += "\n| step | loss on held-out samples |\n|---|---|\n";
    for (auto [step, value] : state.evals)
      card += fmt::format("| {} | {} |\n", step, loss(value));
  }
  card += "\nEvery step is in `metrics.jsonl`, the whole spec in `spec.toml`.\n";
  return card;
}

} // namespace lorac::train
