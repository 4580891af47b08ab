// Which modules get an adapter, and with what rank and scale.

#include "dsl/Check.h"
#include "runtime/formats/ModulePattern.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <set>

namespace lorac::dsl {

namespace {

using formats::ModulePattern;
using Kind = ModulePattern::Kind;
using Texts = std::vector<Field<std::string>>;
/// For each module the text that names it, or null.
using Chosen = std::vector<const Field<std::string> *>;

/// Which modules a text names; false for all where it is no pattern (checkSpec has said so).
std::vector<bool> namedBy(const std::string &text, const SourceRange &range, Kind kind,
                          const std::vector<std::string> &modules, Diagnostics &diags) {
  std::vector<bool> named(modules.size(), false);
  Result<ModulePattern> pattern = ModulePattern::compile(text, kind);
  for (size_t i = 0; pattern && i < modules.size(); ++i) {
    Result<bool> matches = pattern->matches(modules[i]);
    if (!matches) {
      diags.error(range, "the pattern '" + printable(text) +
                             "' takes too much effort: " + matches.error().message);
      break;
    }
    named[i] = *matches;
  }
  return named;
}

bool any(const std::vector<bool> &named) {
  return std::find(named.begin(), named.end(), true) != named.end();
}

/// What messages about names need.
class Namer {
public:
  Namer(const Spec &spec, const std::vector<std::string> &modules, Diagnostics &diags)
      : spec(spec), modules(modules), diags(diags) {}

  /// The first text of the list that names each module; every text must name one.
  Chosen match(const Texts &texts, Kind kind) const {
    Chosen chosen(modules.size(), nullptr);
    for (const Field<std::string> &text : texts) {
      const size_t errors = diags.errors();
      const std::vector<bool> named = *text == "all-linear"
                                          ? std::vector<bool>(modules.size(), true)
                                          : namedBy(*text, text.range, kind, modules, diags);
      if (!any(named) && diags.errors() == errors && ModulePattern::compile(*text, kind))
        sayUnmatched(text, kind);
      for (size_t i = 0; i < modules.size(); ++i)
        if (named[i] && !chosen[i])
          chosen[i] = &text;
    }
    return chosen;
  }

private:
  /// The last part of each module's name, once each: q_proj, k_proj, …
  std::vector<std::string> shortNames() const {
    std::vector<std::string> names;
    for (const std::string &module : modules) {
      std::string name = module.substr(module.rfind('.') + 1);
      if (std::find(names.begin(), names.end(), name) == names.end())
        names.push_back(name);
    }
    return names;
  }

  void sayUnmatched(const Field<std::string> &text, Kind kind) const {
    static const std::string elsewhere[] = {"lm_head", "embed_tokens"};
    const std::string shown = printable(*text);
    if (std::find(std::begin(elsewhere), std::end(elsewhere), *text) != std::end(elsewhere)) {
      diags.error(text.range, "an adapter on '" + shown + "' is known, not in this version");
      return;
    }
    const bool plain = formats::isPlainName(*text);
    Diagnostics ignored;
    if (kind != Kind::Ending && any(namedBy(*text, text.range, Kind::Ending, modules, ignored))) {
      const bool isName = kind == Kind::Name;
      diags
          .error(text.range, isName ? "'" + shown +
                                          "' names no module: an entry of a list is a name or its "
                                          "end, no regular expression"
                                    : "'" + shown +
                                          "' names no module: a string is a regular expression "
                                          "that matches whole names")
          .suggest(plain ? "[\"" + *text + "\"]" : ".*\\.(" + *text + ")");
      return;
    }
    std::vector<std::string> names = shortNames(), words = names;
    words.insert(words.end(), modules.begin(), modules.end());
    words.push_back("all-linear");
    Diagnostic &error =
        diags.error(text.range, plain || kind == Kind::Name ? "no module is named '" + shown + "'"
                                                            : "no module matches '" + shown + "'");
    error.suggest(nearest(*text, words));
    std::string list;
    for (const std::string &name : names)
      list += (list.empty() ? "" : ", ") + name;
    const auto &origin = spec.model.source.given() ? spec.model.source : spec.model.architecture;
    const std::string model = printable(origin->substr(origin->rfind('/') + 1));
    error.note(origin.range, "modules of '" + model + "': " + list);
  }

  const Spec &spec;
  const std::vector<std::string> &modules;
  Diagnostics &diags;
};

/// The number of the layer in a module's name: the last part that is one and has a name before it,
/// which `pattern` matches where it is given. model.layers.3.mlp.up_proj: 3.
std::optional<int64_t> layerOf(const std::string &module, const ModulePattern *pattern) {
  for (size_t end = module.rfind('.'); end != std::string::npos && end > 0;) {
    const size_t dot = module.rfind('.', end - 1);
    if (dot == std::string::npos)
      return std::nullopt;
    int64_t number = 0;
    const char *last = module.data() + end;
    const auto [stop, error] = std::from_chars(module.data() + dot + 1, last, number);
    if (error == std::errc() && stop == last && number >= 0) {
      Result<bool> fits = pattern ? pattern->matches(module.substr(0, dot)) : Result<bool>(true);
      if (fits && *fits)
        return number;
    }
    end = dot;
  }
  return std::nullopt;
}

std::optional<int64_t> layerOf(const std::string &module,
                               const std::vector<ModulePattern> &patterns) {
  if (patterns.empty())
    return layerOf(module, nullptr);
  for (const ModulePattern &pattern : patterns)
    if (std::optional<int64_t> layer = layerOf(module, &pattern))
      return layer;
  return std::nullopt;
}

/// layers_to_transform: of the chosen modules those stay that are in the layers, or whose whole
/// name stands in the list (as in PEFT).
void keepLayers(const AdapterSpec &adapter, const std::vector<std::string> &modules, Chosen &chosen,
                Diagnostics &diags) {
  std::vector<ModulePattern> patterns;
  for (const Field<std::string> &text : *adapter.layersPattern)
    if (Result<ModulePattern> pattern = ModulePattern::compile(*text, Kind::Ending))
      patterns.push_back(std::move(*pattern));
  const auto &wanted = *adapter.layersToTransform;
  const Texts &targets = adapter.targetModules->texts;
  std::set<int64_t> there;
  const std::string *example = nullptr;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (!chosen[i])
      continue;
    example = &modules[i];
    const std::optional<int64_t> layer = layerOf(modules[i], patterns);
    if (layer)
      there.insert(*layer);
    const bool isWhole = std::any_of(targets.begin(), targets.end(),
                                     [&](const auto &text) { return *text == modules[i]; });
    if (!isWhole && std::none_of(wanted.begin(), wanted.end(),
                                 [&](const auto &each) { return layer && *each == *layer; }))
      chosen[i] = nullptr;
  }
  if (!example)
    return;
  if (there.empty()) {
    const SourceRange &range = adapter.layersPattern.given() ? adapter.layersPattern.range
                                                             : adapter.layersToTransform.range;
    diags.error(range, "no module has a layer's number behind such a name: they are called as '" +
                           *example + "'");
    return;
  }
  for (const Field<int64_t> &each : wanted)
    if (!each.refused && !there.contains(*each))
      diags.error(each.range, "no module of 'target_modules' is in layer " + std::to_string(*each) +
                                  ": they are in layers from " + std::to_string(*there.begin()) +
                                  " to " + std::to_string(*there.rbegin()));
}

/// exclude_modules; a text that leaves nothing out is worth a word.
void leaveOut(const AdapterSpec &adapter, const std::vector<std::string> &modules, Chosen &chosen,
              Diagnostics &diags) {
  const ModuleNames &names = *adapter.excludeModules;
  const Chosen before = chosen;
  for (const Field<std::string> &text : names.texts) {
    const std::vector<bool> named =
        namedBy(*text, text.range, names.isList ? Kind::Name : Kind::Whole, modules, diags);
    bool leavesOut = false;
    for (size_t i = 0; i < modules.size(); ++i) {
      leavesOut |= named[i] && before[i];
      if (named[i])
        chosen[i] = nullptr;
    }
    if (!leavesOut)
      diags.warning(text.range, "'" + printable(*text) +
                                    "' leaves nothing out: 'target_modules' names no such module");
  }
}

/// What a pattern gives the modules that it is the first to match.
template <class T>
void applyPatterns(const Field<Patterns<T>> &patterns, const char *key,
                   std::vector<AdapterChoice> &choices, T AdapterChoice::*field,
                   Diagnostics &diags) {
  std::vector<std::string> modules;
  for (const AdapterChoice &choice : choices)
    modules.push_back(choice.module);
  std::vector<bool> taken(choices.size(), false);
  for (const PatternEntry<T> &entry : *patterns) {
    const std::vector<bool> named =
        namedBy(entry.pattern, entry.keyRange, Kind::Ending, modules, diags);
    for (size_t i = 0; i < choices.size(); ++i)
      if (named[i] && !taken[i]) {
        taken[i] = true;
        choices[i].*field = *entry.value;
        choices[i].range = entry.keyRange;
      }
    if (!choices.empty() && !any(named))
      diags.warning(entry.keyRange, "'" + printable(entry.pattern) + "' in '" + key +
                                        "' matches the end of no adapted module's name: it "
                                        "changes nothing");
  }
}

void applyRules(const AdapterSpec &adapter, const Namer &namer,
                const std::vector<std::string> &modules, std::vector<AdapterChoice> &choices,
                Diagnostics &diags) {
  for (const AdapterRule &rule : adapter.rules) {
    const Chosen ruled = namer.match(*rule.modules, Kind::Ending);
    bool any = false, targeted = false;
    auto choice = choices.begin(); // in the order of the modules
    for (size_t i = 0; i < modules.size(); ++i) {
      any |= ruled[i] != nullptr;
      if (choice == choices.end() || choice->module != modules[i])
        continue;
      AdapterChoice &here = *choice++;
      if (!ruled[i])
        continue;
      targeted = true;
      if (rule.r.given())
        here.r = *rule.r;
      if (rule.loraAlpha.given())
        here.alpha = *rule.loraAlpha;
      if (rule.loraDropout.given())
        here.dropout = *rule.loraDropout;
      if (rule.minR.given())
        here.minR = rule.minR;
      if (rule.maxR.given())
        here.maxR = rule.maxR;
      here.range = ruled[i]->range;
    }
    if (any && !targeted)
      diags.warning(rule.modules.range,
                    "the rule changes nothing: 'target_modules' names none of its modules");
  }
}

} // namespace

std::vector<AdapterChoice>
resolveAdapters(const Spec &spec, const std::vector<std::string> &modules, Diagnostics &diags) {
  const AdapterSpec &adapter = spec.adapter;
  const Namer namer(spec, modules, diags);
  const ModuleNames &targets = *adapter.targetModules;
  Chosen chosen = namer.match(targets.texts, targets.isList ? Kind::Name : Kind::Whole);
  if (adapter.layersToTransform.given() && targets.isList)
    keepLayers(adapter, modules, chosen, diags);
  const bool anyBefore = std::any_of(chosen.begin(), chosen.end(), [](auto *text) { return text; });
  leaveOut(adapter, modules, chosen, diags);

  const bool falls = *adapter.method == AdapterMethod::AdaLora;
  const int64_t rank = falls ? *adapter.adalora->initR : *adapter.r;
  std::vector<AdapterChoice> choices;
  for (size_t i = 0; i < modules.size(); ++i)
    if (chosen[i])
      choices.push_back({modules[i],
                         rank,
                         *adapter.loraAlpha,
                         *adapter.loraDropout,
                         0,
                         chosen[i]->range,
                         {},
                         {}});
  if (choices.empty() && anyBefore && !diags.hasErrors()) {
    diags.error(adapter.excludeModules.range, "no module has an adapter: 'exclude_modules' leaves "
                                              "out all that 'target_modules' names");
    return choices;
  }
  applyPatterns(adapter.rankPattern, "adapter.rank_pattern", choices, &AdapterChoice::r, diags);
  applyPatterns(adapter.alphaPattern, "adapter.alpha_pattern", choices, &AdapterChoice::alpha,
                diags);
  applyRules(adapter, namer, modules, choices, diags);
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
