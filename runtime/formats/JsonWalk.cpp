#include "runtime/formats/JsonWalk.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/FileKind.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace lorac::formats {
namespace {

constexpr size_t deepest = 64;

struct Level {
  bool isArray = false;
  size_t count = 0;
  std::unordered_set<std::string> names; // of an object
};

class Walker : public nlohmann::json_sax<nlohmann::json> {
public:
  Walker(std::string_view text, const JsonVisitor &visit) : text(text), visit(visit) {}
  std::string complaint;

  bool null() override { return value({JsonEvent::Null}); }
  bool boolean(bool truth) override {
    JsonEvent event{JsonEvent::Bool};
    event.truth = truth;
    return value(event);
  }
  bool number_integer(number_integer_t integer) override {
    JsonEvent event{JsonEvent::Integer};
    event.integer = integer;
    event.number = double(integer);
    return value(event);
  }
  bool number_unsigned(number_unsigned_t integer) override {
    if (integer > uint64_t(INT64_MAX))
      return number_float(double(integer), {});
    return number_integer(number_integer_t(integer));
  }
  bool number_float(number_float_t number, const string_t &) override {
    JsonEvent event{JsonEvent::Number};
    event.number = number;
    return value(event);
  }
  bool string(string_t &text) override {
    JsonEvent event{JsonEvent::String};
    event.text = text;
    return value(event);
  }
  bool binary(binary_t &) override { return false; }
  bool start_object(size_t) override { return open(false); }
  bool start_array(size_t) override { return open(true); }
  bool end_object() override { return close(JsonEvent::Object); }
  bool end_array() override { return close(JsonEvent::Array); }
  bool key(string_t &name) override {
    Level &level = levels.back();
    if (!level.names.insert(name).second) {
      complaint = fmt::format("the key '{}' stands twice", shown(name));
      return false;
    }
    path.back() = name;
    return true;
  }
  bool parse_error(size_t position, const std::string &,
                   const nlohmann::detail::exception &) override {
    // It counts from 1, up to the byte that fits no longer.
    const size_t at = std::min(text.size(), position > 0 ? position - 1 : 0);
    const std::string_view before = text.substr(0, at);
    const size_t line = std::count(before.begin(), before.end(), '\n');
    const size_t begin = line ? before.rfind('\n') + 1 : 0;
    complaint =
        fmt::format("not JSON at byte {} (line {}, column {})", position, line + 1, at - begin + 1);
    for (std::string_view word : {"NaN", "Infinity", "-Infinity"})
      if (const size_t from = at - std::min<size_t>(at, 1);
          text.substr(from).starts_with(word) || text.substr(at).starts_with(word))
        complaint += fmt::format(": {} is no number there", word);
    return false;
  }

private:
  /// An entry of the level on top begins.
  void enter() {
    if (levels.empty())
      return;
    Level &level = levels.back();
    if (level.isArray)
      path.back() = std::to_string(level.count);
    ++level.count;
  }
  bool show(const JsonEvent &event) {
    complaint = visit(path, event);
    return complaint.empty();
  }
  bool value(const JsonEvent &event) {
    enter();
    return show(event);
  }
  bool open(bool isArray) {
    enter();
    if (levels.size() == deepest) {
      complaint = fmt::format("nested more than {} deep", deepest);
      return false;
    }
    levels.push_back({isArray});
    path.emplace_back();
    return true;
  }
  bool close(JsonEvent::Kind kind) {
    JsonEvent event{kind};
    event.count = levels.back().count;
    levels.pop_back();
    path.pop_back();
    return show(event);
  }

  const std::string_view text;
  const JsonVisitor &visit;
  std::vector<Level> levels;
  std::vector<std::string> path;
};

} // namespace

Result<void> walkJson(const std::string &file, std::string_view text, const JsonVisitor &visit) {
  const FileKind kind = fileKind({reinterpret_cast<const uint8_t *>(text.data()), text.size()});
  if (kind != FileKind::Json && kind != FileKind::Text && !describe(kind).empty())
    return Error{fmt::format("'{}' {}", file, describe(kind)), Exit::ForeignFile};
  Walker walker(text, visit);
  try {
    if (nlohmann::json::sax_parse(text, &walker))
      return {};
  } catch (const std::exception &error) {
    walker.complaint = error.what();
  }
  return Error{fmt::format("'{}': {}", file, walker.complaint), Exit::ForeignFile};
}

} // namespace lorac::formats
