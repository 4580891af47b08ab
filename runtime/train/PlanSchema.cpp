#include "runtime/train/PlanSchema.h"

#include "runtime/train/JsonFields.h"

#include <cmath>
#include <concepts>
#include <type_traits>

namespace lorac::train {

// Of each type of value: what reads it, and what writes it.

static void read(const Fields &in, std::string &text) { text = in.asText(); }
static Json write(const std::string &text) { return text; }

static void read(const Fields &in, bool &truth) { truth = in.asTruth(); }
template <std::integral T>
static void read(const Fields &in, T &number, int64_t least = 0,
                 int64_t most = std::numeric_limits<int64_t>::max()) {
  number = T(in.asInteger(least, most));
}
template <std::integral T, typename... Bounds>
static Json write(T number, const Bounds &...) {
  return number;
}

template <std::floating_point T>
static void read(const Fields &in, T &number) {
  number = T(in.asNumber());
}
/// A whole number has no point: some of them are counts to other readers.
static Json write(double number) {
  const bool whole = number == std::trunc(number) && number < 9e18 && !std::signbit(number);
  return whole ? Json(int64_t(number)) : Json(number);
}

/// The architecture's numbers, by name.
using Hyper = decltype(Plan::hyper);
static void read(const Fields &in, Hyper &hyper) {
  in.forMembers([&](const std::string &name, const Fields &number) {
    hyper.emplace_back(name, number.asNumber());
  });
}
static Json write(Hyper &hyper) {
  Json out = Json::object();
  for (const auto &[name, number] : hyper)
    out[name] = write(number);
  return out;
}

/// "sm_80", "sm_90a".
static void read(const Fields &in, PlanArch &arch) {
  arch.name = in.asText();
  std::string_view digits = arch.name;
  if (digits.starts_with("sm_"))
    digits.remove_prefix(3);
  if (digits.ends_with("a") || digits.ends_with("f")) {
    arch.exact = true;
    digits.remove_suffix(1);
  }
  const bool number = digits.size() >= 2 && digits.size() <= 4 &&
                      digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (!arch.name.starts_with("sm_") || !number)
    in.fail("is '" + arch.name + "', no architecture like 'sm_80'");
  else
    arch.capability = std::stoi(std::string(digits));
}
static Json write(const PlanArch &arch) { return arch.name; }

/// [1, "rate", 0.01, "*", "-"]
static void read(const Fields &in, Formula &formula) { formula = Formula::read(in); }
static Json write(const Formula &formula) {
  Json out = Json::array();
  for (const auto &term : formula.text())
    if (const auto *word = std::get_if<std::string_view>(&term))
      out.push_back(*word);
    else
      out.push_back(write(std::get<double>(term)));
  return out;
}

/// A number, "rows", "starts", "cached", "s0".
static void read(const Fields &in, LaunchSize &size, size_t scalars) {
  if (!in.json().is_string()) {
    size.value = in.asInteger(0, maxCount);
    return;
  }
  const std::string text = in.asText();
  size.kind = text == "rows"     ? LaunchSize::Rows
              : text == "starts" ? LaunchSize::Starts
                                 : LaunchSize::Cached;
  if (text == "rows" || text == "starts" || text == "cached")
    return;
  for (size_t i = 0; i < scalars; ++i)
    if (text == "s" + std::to_string(i)) {
      size = {LaunchSize::Scalar, int64_t(i)};
      return;
    }
  in.fail("is '" + text + "', neither a number, rows, starts, cached nor a scalar of the kernel");
}
static Json write(const LaunchSize &size) {
  const std::string words[] = {"", "rows", "starts", "s" + std::to_string(size.value), "cached"};
  return size.kind == LaunchSize::Number ? Json(size.value) : Json(words[size.kind]);
}

/// ["w", bytes] of a weight's part, [element, outer, stride, columns] in the arena, [] where no
/// more is said.
static void read(const Fields &in, PlanBuffer &buffer, size_t scalars) {
  const bool isWeight = in.json().is_array() && in.size() == 2 && in.json()[0] == "w";
  LaunchSize *const sizes[] = {&buffer.outer, &buffer.stride, &buffer.columns};
  size_t at = 0;
  in.forEach([&](const Fields &item) {
    if (isWeight && at == 1)
      buffer.weightBytes = item.asInteger(0, maxBytes);
    else if (!isWeight && at == 0)
      buffer.element = item.asInteger(1, 8);
    else if (!isWeight && at < 4)
      read(item, *sizes[at - 1], scalars);
    ++at;
  });
  if (!isWeight && at != 0 && at != 4)
    in.fail("is neither [\"w\", bytes] nor [element, outer, stride, columns]");
}
static Json write(const PlanBuffer &buffer, size_t) {
  if (buffer.weightBytes >= 0)
    return Json::array({"w", buffer.weightBytes});
  if (buffer.element == 0)
    return Json::array();
  return Json::array(
      {buffer.element, write(buffer.outer), write(buffer.stride), write(buffer.columns)});
}

/// An offset, or ["w", weight, part].
static void read(const Fields &in, PlanArg &arg, const Plan &plan) {
  if (!in.json().is_array()) {
    arg.offset = in.asInteger(0, plan.arenaBytes);
    return;
  }
  if (in.size() != 3 || in.json()[0] != "w")
    return in.fail("is neither an offset nor [\"w\", weight, part]");
  std::vector<int64_t> index;
  in.forEach([&](const Fields &item) {
    if (!item.json().is_string())
      index.push_back(item.asInteger(0, maxCount));
  });
  if (index.size() != 2 || index[0] >= int64_t(plan.weights.size()) ||
      index[1] >= int64_t(plan.weights[size_t(index[0])].parts.size()))
    return in.fail("names no weight's part");
  arg.weight = int32_t(index[0]);
  arg.part = int32_t(index[1]);
}
static Json write(const PlanArg &arg, const Plan &) {
  return arg.weight < 0 ? Json(arg.offset) : Json::array({"w", arg.weight, arg.part});
}

/// [begin, count]
static void read(const Fields &in, LaunchRows &rows, int64_t most) {
  std::vector<int64_t> numbers;
  in.forEach([&](const Fields &row) { numbers.push_back(row.asInteger(0, most)); });
  if (numbers.size() != 2)
    return in.fail("needs [begin, count]");
  rows.begin = numbers[0], rows.count = numbers[1];
}
static Json write(const LaunchRows &rows, int64_t) { return Json::array({rows.begin, rows.count}); }

/// [x, y, z]: what a launch may have of each.
using Grid = decltype(PlanLaunch::grid);
static void read(const Fields &in, Grid &grid) {
  constexpr int64_t most[] = {maxInt, 65535, 65535};
  size_t dims = 0;
  in.forEach([&](const Fields &dim) {
    if (dims < 3)
      grid[dims] = dim.asInteger(1, most[dims]);
    ++dims;
  });
  if (dims != 3)
    in.fail("needs [x, y, z]");
}
static Json write(const Grid &grid) { return grid; }

static void read(const Fields &in, std::vector<int64_t> &shape, Shape) {
  int64_t product = 1;
  in.forEach([&](const Fields &dim) {
    shape.push_back(dim.asInteger(1, maxCount));
    if (product > maxCount / shape.back())
      dim.fail("makes the shape too large");
    else
      product *= shape.back();
  });
  if (shape.empty() || shape.size() > 2)
    in.fail("needs one or two dimensions");
}

template <typename T, typename... Bounds>
static void read(const Fields &in, std::vector<T> &list, Bounds &...bounds) {
  in.forEach([&](const Fields &each) { read(each, list.emplace_back(), bounds...); });
}
template <typename T, typename... Bounds>
static Json write(std::vector<T> &list, Bounds &...bounds) {
  Json out = Json::array();
  for (T &each : list)
    out.push_back(write(each, bounds...));
  return out;
}

namespace {

/// Gives keys to the structs of a plan, or takes them.
class PlanVisitor {
public:
  PlanVisitor() = default;
  explicit PlanVisitor(Fields in) : in(std::move(in)) {}

  template <typename T, typename... Bounds>
  void operator()(const char *key, T &value, Bounds &&...bounds) {
    if (in)
      read(in->at(key), value, bounds...);
    else
      json[key] = write(value, bounds...);
  }
  template <typename E>
    requires std::is_enum_v<E>
  void operator()(const char *key, E &value) {
    if (!in)
      json[key] = planWords<E>[size_t(value)];
    else if (const std::string word = in->text(key); const auto found = fromPlanWord<E>(word))
      value = *found;
    else
      in->fail("has the " + std::string(key) + " '" + word + "'; known: " + listed<E>());
  }
  void operator()(const char *key, AdapterPart &part) {
    if (!in)
      json[key] = formats::toString(part);
    else if (const std::string word = in->text(key);
             const auto found = formats::parseAdapterPart(word))
      part = *found;
    else
      in->fail("has the " + std::string(key) + " '" + word + "', which is none");
  }
  template <typename T, typename... Bounds>
  void need(bool must, const char *key, T &value, Bounds &&...bounds) {
    if (must || !in || in->has(key))
      (*this)(key, value, bounds...);
  }
  template <typename T, typename... Bounds>
  void maybe(const char *key, T &value, Bounds &&...bounds) {
    need(false, key, value, bounds...);
  }
  template <typename T, typename... Bounds>
  void unlessDefault(const char *key, T &value, Bounds &&...bounds) {
    if (in ? in->has(key) : !isDefault(value))
      (*this)(key, value, bounds...);
  }
  template <typename F>
  void object(const char *key, F inner) {
    PlanVisitor of = in ? PlanVisitor(in->at(key)) : PlanVisitor();
    inner(of);
    if (!in)
      json[key] = std::move(of.json);
  }
  template <typename F, typename... Values>
  void check(F what, Values &...values) {
    if (in && !in->failed())
      what(*in, values...);
  }

  std::optional<Fields> in;   ///< what is read; nothing: it is written
  Json json = Json::object(); ///< what was written

private:
  template <typename E>
  static std::string listed() {
    std::string words;
    for (std::string_view each : planWords<E>)
      words += (words.empty() ? "" : ", ") + std::string(each);
    return words;
  }
  template <typename T>
  static bool isDefault(const T &value) {
    if constexpr (requires { value.empty(); })
      return value.empty();
    else if constexpr (requires { value.has_value(); })
      return !value.has_value();
    else
      return value == T();
  }
};

} // namespace

template <typename T, typename... Bounds>
concept HasFields =
    requires(PlanVisitor &v, T &value, Bounds &...bounds) { fields(v, value, bounds...); };

template <typename T, typename... Bounds>
  requires HasFields<T, Bounds...>
static void read(const Fields &in, T &value, Bounds &...bounds) {
  PlanVisitor v(in);
  fields(v, value, bounds...);
}
template <typename T, typename... Bounds>
  requires HasFields<T, Bounds...>
static Json write(T &value, Bounds &...bounds) {
  PlanVisitor v;
  fields(v, value, bounds...);
  return std::move(v.json);
}

static void read(const Fields &in, std::optional<PlanRanks> &ranks) { read(in, ranks.emplace()); }
static Json write(std::optional<PlanRanks> &ranks) { return write(*ranks); }

Result<Plan> parsePlan(std::string_view text) {
  LORAC_TRY_ASSIGN(Json json, parseJson(text, "plan.json"));
  std::string error;
  Plan plan;
  read(Fields(json, "plan", error), plan);
  if (!error.empty())
    return Error{"plan.json: " + error + "; compile the spec again", Exit::ForeignFile};
  return plan;
}

std::string planJson(Plan plan) {
  return write(plan).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace lorac::train
