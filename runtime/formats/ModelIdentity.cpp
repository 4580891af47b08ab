#include "runtime/formats/ModelIdentity.h"

#include "runtime/formats/Checked.h"
#include "runtime/formats/ConfigKeys.h"
#include "runtime/formats/ModelSource.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace lorac::formats {
namespace {

using Facts = std::map<std::string, std::string>;

/// What facts of rotary frequencies begin with: numbers; and words of how they are scaled.
constexpr const char *ropeNumbers = "rope.", *ropeWords = "rope.words.";

/// A number or truth as a number; nothing for a word.
std::optional<double> numberOf(const HyperValue &value) {
  if (const bool *truth = std::get_if<bool>(&value))
    return *truth ? 1.0 : 0.0;
  if (const int64_t *integer = std::get_if<int64_t>(&value))
    return double(*integer);
  if (const double *number = std::get_if<double>(&value))
    return *number;
  return std::nullopt;
}

/// The keys of one model that an identity speaks of.
class Comparison {
public:
  Comparison(const ModelSource &model, const ModelIdentity &identity)
      : model(model), identity(identity), isGguf(model.gguf() != nullptr) {}

  std::string run() {
    architecture();
    for (const ModelSymbol &symbol : identity.symbols)
      compare(symbol);
    for (const ModelExpectation &expects : identity.expects)
      compare(expects);
    divisors();
    unknownKeys();
    return text;
  }

private:
  void add(const std::string &what) { text += (text.empty() ? "" : "; ") + what; }

  std::string filled(std::string key) const {
    if (size_t at = key.find("{arch}"); at != std::string::npos)
      key.replace(at, 6, model.architecture());
    return key;
  }
  std::vector<std::string> keysOf(const std::vector<std::string> &hf,
                                  const std::vector<std::string> &gguf) const {
    std::vector<std::string> keys;
    for (const std::string &key : isGguf ? gguf : hf)
      keys.push_back(filled(key));
    return keys;
  }

  void architecture() {
    const auto &types = identity.modelTypes;
    if (types.empty() || std::find(types.begin(), types.end(), model.architecture()) != types.end())
      return;
    std::string list;
    for (const std::string &type : types)
      list += (list.empty() ? "'" : "' or '") + type;
    add(fmt::format("its {} is '{}', expected {}'", isGguf ? "general.architecture" : "model_type",
                    shown(model.architecture()), list));
  }

  void compare(const ModelSymbol &symbol) {
    contradiction(symbol);
    const std::optional<HyperValue> stated = statedValue(model, symbol);
    const std::optional<HyperValue> &value = stated ? stated : symbol.unsaid(isGguf);
    if (!value)
      add(fmt::format("it does not say '{}', which was {}", symbol.name, valueText(symbol.value)));
    else if (!sameValue(*value, symbol.value))
      add(fmt::format("'{}' was {} and is {}{}", symbol.name, valueText(symbol.value),
                      valueText(*value), stated ? "" : ", since it does not say"));
  }

  /// Two keys for one thing: readers differ in which they take.
  void contradiction(const ModelSymbol &symbol) {
    std::optional<std::pair<std::string, HyperValue>> first;
    for (const std::string &key : keysOf(symbol.hf, symbol.gguf)) {
      if (key.starts_with("tokenizer."))
        continue; // a count of tokens, not a statement
      const std::optional<HyperValue> value = model.hyper(key);
      if (!value)
        continue;
      if (!first)
        first = {key, *value};
      else if (!sameValue(first->second, *value))
        add(fmt::format("'{}' is {} and '{}' is {}: they contradict each other", first->first,
                        valueText(first->second), key, valueText(*value)));
    }
  }

  void compare(const ModelExpectation &expects) {
    const std::string why = expects.why.empty() ? "" : ": " + expects.why;
    if (isGguf && !expects.ggufAbsentTensor.empty() && model.hasTensor(expects.ggufAbsentTensor))
      add(fmt::format("it has a tensor '{}', which '{}' does not use{}", expects.ggufAbsentTensor,
                      identity.architecture, why));
    bool isSaid = false;
    for (const std::string &key : keysOf(expects.hf, expects.gguf)) {
      const std::optional<HyperValue> value = model.hyper(key);
      isSaid |= value.has_value();
      if (!value || std::any_of(expects.values.begin(), expects.values.end(),
                                [&](const HyperValue &v) { return sameValue(v, *value); }))
        continue;
      std::string want;
      for (const HyperValue &v : expects.values)
        want += (want.empty() ? "" : " or ") + valueText(v);
      add(fmt::format("'{}' is {}; '{}' expects {}{}", key, valueText(*value),
                      identity.architecture, want.empty() ? "none" : want, why));
    }
    if (expects.mustBeSaid && !isSaid)
      add(fmt::format("it does not say '{}', which was {}{}", expects.hf.front(),
                      valueText(expects.values.front()), why));
  }

  /// Numbers that no key says, but a tensor.
  void divisors() {
    const std::string name = "rope_freqs.weight";
    if (!isGguf || (!model.hasTensor(name) && identity.divisors.empty()))
      return;
    if (identity.ropeDivisors != name)
      return add(fmt::format("it has a tensor '{}', which '{}' does not use", name,
                             identity.architecture));
    const auto stored = model.vector(name, int64_t(identity.divisors.size()));
    if (!model.hasTensor(name))
      add(fmt::format("it lacks the tensor '{}', which scales rotary positions", name));
    else if (identity.divisors.empty())
      add(fmt::format("it has a tensor '{}', which scales rotary positions, where none was", name));
    else if (!stored || *stored != identity.divisors)
      add(fmt::format("its tensor '{}' has other numbers", name));
  }

  // --- what nobody here knows ---

  void unknownKeys() {
    std::vector<std::string> known;
    auto take = [&](const std::vector<std::string> &keys) {
      known.insert(known.end(), keys.begin(), keys.end());
    };
    for (const ModelSymbol &symbol : identity.symbols)
      take(keysOf(symbol.hf, symbol.gguf));
    for (const ModelExpectation &expects : identity.expects)
      take(keysOf(expects.hf, expects.gguf));
    for (const std::string &key : identity.harmless)
      known.push_back(filled(key));
    int count = 0;
    std::string lastUnknown;
    for (const auto &[key, value] : model.statements()) {
      const bool isKnown =
          std::any_of(known.begin(), known.end(),
                      [&, &key = key, &value = value](const std::string &k) {
                        return isWithin(key, k) || (isContainer(value) && isWithin(k, key));
                      }) ||
          (!isGguf && isHarmlessConfigKey(key));
      if (isKnown || value == HyperValue(false) ||
          (!lastUnknown.empty() && isWithin(key, lastUnknown)))
        continue;
      lastUnknown = key;
      if (++count <= 8)
        add(fmt::format("it has the key '{}' = {}, which this version does not know: it may change "
                        "what the model computes; remove it if it does not",
                        shown(key), valueText(value)));
    }
    if (count > 8)
      add(fmt::format("and {} more such keys", count - 8));
  }

  /// Whether `key` is `of` or lies under it.
  static bool isWithin(std::string_view key, std::string_view of) {
    return key == of || (key.size() > of.size() && key.starts_with(of) && key[of.size()] == '.');
  }

  /// An object or a list, whose members are statements of their own.
  static bool isContainer(const HyperValue &value) {
    const std::string *word = std::get_if<std::string>(&value);
    return word && (*word == "an object" || word->starts_with("an array of "));
  }

  const ModelSource &model;
  const ModelIdentity &identity;
  const bool isGguf;
  std::string text;
};

} // namespace

bool sameValue(const HyperValue &a, const HyperValue &b) {
  const std::optional<double> x = numberOf(a), y = numberOf(b);
  if (!x || !y) {
    // Files say both of what they do not have.
    static const HyperValue none = std::string("none"), plain = std::string("default");
    return !x && !y && (a == none ? plain : a) == (b == none ? plain : b);
  }
  return float(*x) == float(*y);
}

std::string valueText(const HyperValue &value) {
  if (const bool *truth = std::get_if<bool>(&value))
    return *truth ? "true" : "false";
  if (const int64_t *integer = std::get_if<int64_t>(&value))
    return std::to_string(*integer);
  if (const double *number = std::get_if<double>(&value))
    return fmt::format("{}", float(*number)); // 1e-05, whichever file it stood in
  const std::string &word = std::get<std::string>(value);
  return word == "an object" || word.starts_with("an array of ") ? word : "\"" + shown(word) + "\"";
}

std::optional<HyperValue> statedValue(const ModelSource &model, const ModelSymbol &symbol) {
  const bool isGguf = model.gguf() != nullptr;
  for (std::string key : isGguf ? symbol.gguf : symbol.hf) {
    if (size_t at = key.find("{arch}"); at != std::string::npos)
      key.replace(at, 6, model.architecture());
    if (std::optional<HyperValue> value = model.hyper(key))
      return value;
  }
  if (symbol.nullIsZero &&
      std::any_of(symbol.hf.begin(), symbol.hf.end(), [&](auto &key) { return model.isNull(key); }))
    return HyperValue(int64_t(0));
  if (isGguf && !symbol.ggufAbsentTensor.empty())
    return HyperValue(!model.hasTensor(symbol.ggufAbsentTensor));
  return std::nullopt;
}

Result<void> checkIdentity(const ModelSource &model, const ModelIdentity &identity) {
  const std::string wrong = Comparison(model, identity).run();
  if (wrong.empty())
    return {};
  return Error{
      fmt::format("the model '{}' is not the one that is expected here: {}", model.path(), wrong),
      Exit::ForeignFile};
}

std::map<std::string, std::string> ModelIdentity::facts() const {
  Facts out = {{"architecture", architecture}};
  for (const ModelSymbol &symbol : symbols) {
    const std::optional<double> number = numberOf(symbol.value);
    // What most models do not have is no fact of theirs: a number 0 (no window), a first word.
    const bool isDefault = symbol.otherwise && sameValue(*symbol.otherwise, symbol.value);
    const bool isNone = !std::holds_alternative<bool>(symbol.value) &&
                        (number ? *number == 0 && (isDefault || symbol.nullIsZero) : isDefault);
    if (isNone)
      continue;
    // Truths come as 0 and 1 from some files.
    out[(symbol.ofFrequencies ? ropeWords : "") + symbol.name] =
        number ? fmt::format("{}", float(*number)) : valueText(symbol.value);
  }
  if (!layerTypes.empty())
    out["layer_types"] = layerTypes;
  for (const auto &[name, numbers] : frequencies)
    out[ropeNumbers + name] = fmt::format("{}", fmt::join(numbers, " "));
  return out;
}

namespace {

/// Where two lists of frequencies first differ by more than rounding; none: nowhere.
std::optional<std::string> differingFrequency(const std::string &a, const std::string &b) {
  std::istringstream one(a), other(b);
  for (int64_t i = 0;; ++i) {
    double x = 0, y = 0;
    const bool isX(one >> x), isY(other >> y);
    if (!isX && !isY)
      return std::nullopt;
    if (isX != isY)
      return fmt::format("one has {} frequencies, the other more", i);
    if (!(std::abs(x - y) <= 1e-5 * std::abs(x)))
      return fmt::format("frequency {} was {} and is {}", i, x, y);
  }
}

/// A record of a version that kept the words of scaling, and no frequencies.
bool keepsWordsAlone(const Facts &record, const Facts &now) {
  return std::any_of(record.begin(), record.end(),
                     [&](const auto &fact) { return now.contains(ropeWords + fact.first); });
}

} // namespace

std::string differingFacts(const Facts &then, const Facts &now) {
  if (then.empty())
    return "";
  const bool byWords = keepsWordsAlone(then, now);
  std::string text;
  auto add = [&](const std::string &what) { text += (text.empty() ? "" : "; ") + what; };
  auto compare = [&](const std::string &key, const std::string *was, const std::string *is) {
    if (key.starts_with(ropeNumbers) && was && is) {
      if (const auto differs = differingFrequency(*was, *is))
        add(fmt::format("its rotary frequencies '{}' are others: {}",
                        key.substr(std::string(ropeNumbers).size()), *differs));
    } else if (key.starts_with(ropeNumbers)) {
      add(fmt::format("its rotary frequencies '{}' were {}scaled and are{}",
                      key.substr(std::string(ropeNumbers).size()), was ? "" : "not ",
                      is ? "" : " not"));
    } else if (!was || !is || *was != *is) {
      add(fmt::format("'{}' was {} and is {}", shown(key), was ? shown(*was) : "not there",
                      is ? shown(*is) : "not there"));
    }
  };
  std::map<std::string, std::pair<const std::string *, const std::string *>> pairs;
  for (const auto &[key, value] : then)
    if (!key.starts_with(ropeWords))
      pairs[key].first = &value;
  for (const auto &[key, value] : now)
    if (!key.starts_with(ropeWords))
      pairs[key].second = &value;
    else if (byWords)
      pairs[key.substr(std::string(ropeWords).size())].second = &value;
  for (const auto &[key, pair] : pairs)
    if (!byWords || !key.starts_with(ropeNumbers))
      compare(key, pair.first, pair.second);
  return text;
}

Result<void> checkAdapterBase(const std::map<std::string, std::string> &base,
                              const ModelIdentity &identity, const std::string &adapterPath) {
  const std::string different = differingFacts(base, identity.facts());
  if (different.empty())
    return {};
  return Error{
      fmt::format("the adapter '{}' was trained on another base model: {}", adapterPath, different),
      Exit::ForeignFile};
}

} // namespace lorac::formats
