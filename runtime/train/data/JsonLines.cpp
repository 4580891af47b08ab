#include "runtime/train/data/JsonLines.h"

#include "runtime/train/DataKind.h"
#include "runtime/train/SampleReader.h"

#include <algorithm>
#include <cctype>

namespace lorac::train {

namespace {

size_t charactersOf(std::string_view text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

/// A word like NaN, which other readers of JSON take.
std::string unknownWord(std::string_view text, size_t byte) {
  for (const std::string word :
       {"NaN", "Infinity", "-Infinity", "None", "True", "False", "undefined"})
    if (text.substr(byte).starts_with(word) ||
        (byte > 0 && text.substr(byte - 1).starts_with(word)))
      return "; '" + word + "' is no value of JSON: write null or leave the key out";
  return "";
}

std::string keysOf(const Json &object) {
  std::string keys;
  size_t count = 0;
  for (auto it = object.begin(); it != object.end() && count < 8; ++it, ++count)
    keys += (count ? ", " : "") + quotedStart(it.key(), 30);
  return keys.empty() ? "no keys" : keys + (object.size() > 8 ? ", …" : "");
}

/// `an object with the strings "prompt" and "completion"`.
std::string neededBy(const DataFormat &format) {
  std::string keys;
  for (size_t i = 0; i < format.keys.size(); ++i)
    keys += (i ? " and \"" : "\"") + std::string(format.keys[i]) + "\"";
  return std::string("needs an object with the string") + (format.keys.size() > 1 ? "s " : " ") +
         keys;
}

bool hasAll(const Json &object, std::span<const char *const> keys) {
  return !keys.empty() && std::all_of(keys.begin(), keys.end(),
                                      [&](const char *key) { return object.contains(key); });
}

/// What to do with an object that lacks a key.
std::string mendOf(const Json &object) {
  if (object.contains("chosen") && object.contains("rejected"))
    return "; rows of preferences (chosen, rejected) are for training like DPO's, which lorac does "
           "not do; to train on the chosen answers, write them as \"completion\" and set format = "
           "\"prompt-completion\"";
  for (const DataFormat *format : allDataFormats())
    if (hasAll(object, format->keys))
      return std::string("; format = \"") + format->name + "\" reads such rows";
  return "";
}

using Keys = std::set<std::string>;

/// One text of JSON; the error says where in it: line and column within, and what is wrong.
struct Parsed {
  Json value{Json::value_t::discarded};
  std::vector<Keys> twice; ///< of each object, or of each of a list: keys that come again
  std::string error;
  size_t byte = 0; ///< where what is wrong begins
};

/// An object, or with `isList` a list of some.
Parsed parse(std::string_view text, bool isList) {
  Parsed out;
  Keys seen;
  auto watch = [&](int depth, Json::parse_event_t event, Json &value) {
    if (depth == isList && event == Json::parse_event_t::object_start) {
      seen.clear();
      out.twice.emplace_back();
    }
    if (depth == isList + 1 && event == Json::parse_event_t::key &&
        !seen.insert(value.get_ref<const std::string &>()).second)
      out.twice.back().insert(value.get<std::string>());
    return true;
  };
  try {
    out.value = Json::parse(text.begin(), text.end(), watch);
    return out;
  } catch (const Json::parse_error &error) {
    out.byte = std::min(error.byte ? error.byte - 1 : 0, text.size());
    // The parser tells the last byte that it has read of a word.
    while (out.byte > 0 && out.byte < text.size() &&
           std::isalpha(static_cast<unsigned char>(text[out.byte - 1])) &&
           std::isalpha(static_cast<unsigned char>(text[out.byte])))
      --out.byte;
    out.error = "not JSON";
  } catch (const Json::exception &error) { // a number beyond every double, which it quotes
    const std::string_view what = error.what();
    const size_t open = what.find('\''), close = what.rfind('\'');
    const size_t at = open < close ? text.find(what.substr(open + 1, close - open - 1)) : 0;
    out.byte = at == std::string_view::npos ? 0 : at;
    out.error = "a number that no float64 holds";
  }
  out.error += unknownWord(text, out.byte);
  out.value = Json(Json::value_t::discarded);
  return out;
}

/// A list of objects, or the objects of lines.
class Loader {
public:
  Loader(const std::string &path, SampleSink &sink, const DataFormat &format, bool isList,
         Result<void> (*read)(const JsonRow &, std::vector<Segment> &))
      : path(path), sink(sink), format(format), isList(isList), read(read) {}

  Result<void> addText(std::string_view text, uint64_t line) {
    if (text.find_first_not_of(" \t\n") == std::string_view::npos)
      return {};
    Parsed parsed = parse(text, isList);
    if (parsed.value.is_discarded()) {
      const std::string_view before = text.substr(0, parsed.byte);
      const size_t lineStart = before.rfind('\n') + 1; // npos + 1 is 0
      line += uint64_t(std::count(before.begin(), before.end(), '\n'));
      return refused("data file '" + path + "', line " + std::to_string(line) + ", column " +
                     std::to_string(charactersOf(before.substr(lineStart)) + 1) + ": " +
                     parsed.error +
                     (!isList && text[text.find_first_not_of(" \t\n")] == '[' ? listMend() : ""));
    }
    if (!isList)
      return addObject(parsed.value, parsed.twice, {path, line});
    // The first that is no object ends it, so that both lists go together.
    Place place{path, 0};
    for (const Json &object : parsed.value) {
      ++place.row;
      LORAC_TRY(addObject(object, std::span(parsed.twice).subspan(place.row - 1), place));
    }
    return {};
  }

private:
  std::string listMend() const {
    return "; the file may be one list, " +
           (format.takesLists
                ? "which is seen by a '[' among its first 512 bytes"
                : "where format = \"" + std::string(format.name) + "\" takes one object a line");
  }

  /// `twice`: its own first.
  Result<void> addObject(const Json &object, std::span<const Keys> twice, const Place &place) {
    if (!object.is_object())
      return refused(place.text() + neededBy(format) + ", got " + std::string(object.type_name()) +
                     (object.is_array() && !isList ? listMend() : ""));
    segments.clear();
    if (Result<void> good = read(JsonRow(object, twice.front(), format), segments); !good)
      return refused(place.text() + good.error().message);
    return sink.add(segments, place);
  }

  const std::string &path;
  SampleSink &sink;
  const DataFormat &format;
  const bool isList;
  Result<void> (*read)(const JsonRow &, std::vector<Segment> &);
  std::vector<Segment> segments;
};

bool beginsAsList(const std::string &firstBytes) {
  TextDecoder decoder;
  std::string head;
  const bool isAll = firstBytes.size() < 4; // nothing is decided of them before the end
  if (!decoder.push(firstBytes, head) || (isAll && !decoder.finish(head)))
    return false; // what is wrong is said when it is read
  const size_t begin = head.find_first_not_of(" \t\n");
  return begin != std::string::npos && head[begin] == '[';
}

} // namespace

std::string JsonRow::text(const char *key) const {
  const auto it = object.find(key);
  if (it == object.end())
    fail(neededBy(format) + "; it has " +
         (format.keys.size() > 1 ? "no \"" + std::string(key) + "\" but " : "") + keysOf(object) +
         mendOf(object));
  else if (twice.contains(key))
    fail(std::string("has the key \"") + key + "\" twice");
  else if (it->is_array())
    fail(neededBy(format) + "; its \"" + key +
         "\" is a list: messages need a chat template, which is not in this version");
  else if (!it->is_string())
    fail(neededBy(format) + "; its \"" + key + "\" is " + std::string(it->type_name()));
  else
    return it->get<std::string>();
  return "";
}

std::string JsonRow::textOrNone(const char *key) const {
  const auto it = object.find(key);
  return it == object.end() || (it->is_null() && !twice.contains(key)) ? "" : text(key);
}

void JsonRow::fail(const std::string &message) const {
  if (error.empty())
    error = message;
}

Result<void> JsonRow::outcome() const {
  if (error.empty())
    return {};
  return refused(error);
}

Result<void> loadJsonLines(const std::string &path, SampleSink &sink, const DataFormat &format,
                           Result<void> (*read)(const JsonRow &, std::vector<Segment> &)) {
  auto open = [&](const char *separator) { return SampleReader::open(path, separator, nullptr); };
  Result<SampleReader> lines = open("\n");
  if (!lines)
    return lines.error();
  const bool isList = format.takesLists && beginsAsList(lines->firstBytes());
  LORAC_TRY_ASSIGN(SampleReader reader, isList ? open("") : std::move(lines));
  Loader loader(path, sink, format, isList, read);
  return sink.readAll(reader,
                      [&](const SamplePart &part) { return loader.addText(part.text, part.line); });
}

} // namespace lorac::train
