// Which modules get an adapter, and with what rank and scale.

#include "dsl/Check.h"
#include "dsl/ModulePattern.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace lorac::dsl {

namespace {

// The last part of each module's path, once each: q_proj, k_proj, …
std::vector<std::string> shortNames(const std::vector<std::string> &modules) {
  std::vector<std::string> names;
  for (const std::string &module : modules) {
    std::string name = module.substr(module.rfind('.') + 1);
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  }
  return names;
}

void reportUnmatched(const Field<std::string> &pattern, const std::vector<std::string> &modules,
                     const SourceRange &model, const std::string &modelName, Diagnostics &diags) {
  static const std::string elsewhere[] = {"lm_head", "embed_tokens"};
  std::string shown = printable(*pattern);
  if (std::find(std::begin(elsewhere), std::end(elsewhere), *pattern) != std::end(elsewhere)) {
    diags.error(pattern.range, "an adapter on '" + shown + "' is known, not in this version");
    return;
  }
  std::vector<std::string> names = shortNames(modules), words = names;
  words.insert(words.end(), modules.begin(), modules.end());
  words.push_back("all-linear");
  bool plain = pattern->find_first_of("*+?[](){}|^$\\") == std::string::npos;
  Diagnostic &error = diags.error(pattern.range, plain ? "no module is named '" + shown + "'"
                                                       : "no module matches '" + shown + "'");
  error.suggest(nearest(*pattern, words));
  std::string list;
  for (const std::string &name : names)
    list += (list.empty() ? "" : ", ") + name;
  error.note(model, "modules of '" + modelName + "': " + list);
}

// `matched[i]` says whether a pattern of the list names module i; every pattern must name one.
std::vector<const Field<std::string> *> match(const Spec &spec,
                                              const std::vector<Field<std::string>> &patterns,
                                              const std::vector<std::string> &modules,
                                              Diagnostics &diags) {
  const ModelSpec &model = spec.model;
  const auto &origin = model.source.given() ? model.source : model.architecture;
  std::string name = origin->substr(origin->rfind('/') + 1);
  std::vector<const Field<std::string> *> chosenBy(modules.size(), nullptr);
  for (const Field<std::string> &text : patterns) {
    bool all = *text == "all-linear", any = false;
    std::string error;
    std::optional<ModulePattern> pattern = ModulePattern::compile(*text, error);
    if (!pattern)
      continue; // checkSpec has said so
    for (size_t i = 0; i < modules.size(); ++i) {
      if (!all && !pattern->matches(modules[i]))
        continue;
      any = true;
      if (!chosenBy[i])
        chosenBy[i] = &text;
    }
    if (!any)
      reportUnmatched(text, modules, origin.range, printable(name), diags);
  }
  return chosenBy;
}

} // namespace

std::vector<AdapterChoice>
resolveAdapters(const Spec &spec, const std::vector<std::string> &modules, Diagnostics &diags) {
  const AdapterSpec &adapter = spec.adapter;
  auto chosenBy = match(spec, *adapter.targetModules, modules, diags);
  const bool falls = *adapter.method == AdapterMethod::AdaLora;
  const int64_t rank = falls ? *adapter.adalora->initR : *adapter.r;
  std::vector<AdapterChoice> choices;
  std::vector<size_t> indexOf(modules.size(), SIZE_MAX);
  for (size_t i = 0; i < modules.size(); ++i) {
    if (!chosenBy[i])
      continue;
    indexOf[i] = choices.size();
    choices.push_back({modules[i],
                       rank,
                       *adapter.loraAlpha,
                       *adapter.loraDropout,
                       0,
                       chosenBy[i]->range,
                       {},
                       {}});
  }
  for (const AdapterRule &rule : adapter.rules) {
    auto ruled = match(spec, *rule.modules, modules, diags);
    bool any = false, targeted = false;
    for (size_t i = 0; i < modules.size(); ++i) {
      any |= ruled[i] != nullptr;
      if (!ruled[i] || indexOf[i] == SIZE_MAX)
        continue;
      targeted = true;
      AdapterChoice &choice = choices[indexOf[i]];
      if (rule.r.given())
        choice.r = *rule.r;
      if (rule.loraAlpha.given())
        choice.alpha = *rule.loraAlpha;
      if (rule.loraDropout.given())
        choice.dropout = *rule.loraDropout;
      if (rule.minR.given())
        choice.minR = rule.minR;
      if (rule.maxR.given())
        choice.maxR = rule.maxR;
      choice.range = ruled[i]->range;
    }
    if (any && !targeted)
      diags.warning(rule.modules.range,
                    "the rule changes nothing: 'target_modules' names none of its modules");
  }
  std::erase_if(choices, [](const AdapterChoice &choice) { return choice.r <= 0; });
  for (AdapterChoice &choice : choices) {
    double r = static_cast<double>(choice.r);
    // PEFT's layer.py: ranknum + 1e-5, and ranknum is the initial rank for ever.
    choice.scale = choice.alpha / (falls ? r + 1e-5 : *adapter.useRslora ? std::sqrt(r) : r);
  }
  if (choices.empty() && !diags.hasErrors())
    diags.error(adapter.targetModules.given() ? adapter.targetModules.range : adapter.range,
                "no module has an adapter: there is nothing to train");
  return choices;
}

} // namespace lorac::dsl
