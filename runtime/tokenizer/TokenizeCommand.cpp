#include "runtime/tokenizer/TokenizeCommand.h"

#include "runtime/tokenizer/Json.h"
#include "runtime/tokenizer/Tokenizer.h"

#include <nlohmann/json.hpp>

#include <istream>
#include <iterator>
#include <ostream>

namespace lorac {
namespace {

int report(std::ostream &err, const Error &error) {
  err << "error: " << error.message << "\n";
  return static_cast<int>(error.code);
}

std::string asJsonString(const std::string &text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string arrayOf(const std::vector<int32_t> &ids) {
  std::string text = "[";
  for (size_t i = 0; i < ids.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(ids[i]);
  return text + "]\n";
}

int tokenizeLines(const Tokenizer &tokenizer, std::istream &in, std::ostream &out,
                  std::ostream &err) {
  size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::string where = "line " + std::to_string(number) + ": ";
    auto value = tok::readJson(line);
    if (!value)
      return report(
          err, {where + "expected one JSON string, got: " + value.error().message, Exit::Refused});
    if (!value->isString())
      return report(err, {where + "expected one JSON string, got another value", Exit::Refused});
    auto ids = tokenizer.encode(value->string);
    if (!ids)
      return report(err, {where + ids.error().message, ids.error().code});
    out << arrayOf(*ids) << std::flush;
    if (!out)
      return report(err, {"cannot write the ids of line " + std::to_string(number), Exit::Failed});
  }
  return static_cast<int>(Exit::Done);
}

int tokenizeText(const Tokenizer &tokenizer, std::istream &in, std::ostream &out,
                 std::ostream &err) {
  std::string text(std::istreambuf_iterator<char>(in), {});
  auto ids = tokenizer.encode(text);
  if (!ids)
    return report(err, ids.error());
  for (int32_t id : *ids)
    out << id << "\t" << asJsonString(*tokenizer.tokenText(id)) << "\n";
  out << std::flush;
  if (!out)
    return report(err, {"cannot write the tokens", Exit::Failed});
  err << ids->size() << " tokens of " << text.size() << " bytes\n";
  return static_cast<int>(Exit::Done);
}

} // namespace

int runTokenize(const std::string &model, bool json, std::istream &in, std::ostream &out,
                std::ostream &err) {
  auto tokenizer = Tokenizer::load(model);
  if (!tokenizer)
    return report(err, tokenizer.error());
  return json ? tokenizeLines(*tokenizer, in, out, err) : tokenizeText(*tokenizer, in, out, err);
}

} // namespace lorac
