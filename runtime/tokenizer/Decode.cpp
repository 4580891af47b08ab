// The decoders: from the texts of tokens back to one text.
#include "runtime/tokenizer/ByteLevel.h"
#include "runtime/tokenizer/Components.h"
#include "runtime/tokenizer/Replace.h"
#include "runtime/tokenizer/Utf8.h"

namespace lorac::tok {
namespace {

using Tokens = std::vector<std::string>;

std::string joined(const Tokens &tokens, std::string_view between) {
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0)
      out += between;
    out += tokens[i];
  }
  return out;
}

/// The byte of a token such as `<0x0A>`, or -1.
int fallbackByte(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>')
    return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0)
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

Tokens byteFallback(const Tokens &tokens, bool bytewise) {
  Tokens out;
  std::string held;
  auto flush = [&] {
    if (held.empty())
      return;
    if (bytewise || !firstInvalidUtf8(held))
      out.push_back(lossyUtf8(held, bytewise));
    else
      out.insert(out.end(), held.size(), "\xef\xbf\xbd");
    held.clear();
  };
  for (const std::string &token : tokens) {
    int byte = fallbackByte(token);
    if (byte >= 0) {
      held.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    out.push_back(token);
  }
  flush();
  return out;
}

/// Without up to `start` leading and `stop` trailing copies of `character`.
std::string stripped(std::string_view token, std::string_view character, size_t start,
                     size_t stop) {
  size_t width = character.size();
  for (size_t i = 0; i < start && token.substr(0, width) == character; ++i)
    token.remove_prefix(width);
  for (size_t i = 0;
       i < stop && token.size() >= width && token.substr(token.size() - width) == character; ++i)
    token.remove_suffix(width);
  return std::string(token);
}

/// WordPiece's tidying of English punctuation.
std::string cleanedUp(const std::string &token) {
  static const std::pair<const char *, const char *> rules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  std::string out = token;
  for (auto [from, to] : rules)
    out = *replaceAll(Pattern{from, {}}, to, out);
  return out;
}

Result<void> apply(const Decoder &step, Tokens &tokens) {
  using Kind = Decoder::Kind;
  switch (step.kind) {
  case Kind::ByteLevel: {
    std::string bytes;
    for (const std::string &token : tokens)
      bytes += bytesOfToken(token);
    tokens.assign(1, lossyUtf8(bytes));
    break;
  }
  case Kind::ByteFallback:
    tokens = byteFallback(tokens, step.bytewise);
    break;
  case Kind::Fuse:
    tokens.assign(1, joined(tokens, ""));
    break;
  case Kind::Strip:
    for (std::string &token : tokens)
      token = stripped(token, step.content, step.start, step.stop);
    break;
  case Kind::Replace:
    for (std::string &token : tokens) {
      auto replaced = replaceAll(step.pattern, step.content, token);
      if (!replaced)
        return replaced.error();
      token = std::move(*replaced);
    }
    break;
  case Kind::Metaspace:
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] =
          *replaceAll(Pattern{step.content, {}}, i == 0 && step.stripFirst ? "" : " ", tokens[i]);
    break;
  case Kind::WordPiece:
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0)
        tokens[i] = tokens[i].compare(0, step.content.size(), step.content) == 0
                        ? tokens[i].substr(step.content.size())
                        : " " + tokens[i];
      if (step.cleanup)
        tokens[i] = cleanedUp(tokens[i]);
    }
    break;
  case Kind::Suffix:
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] =
          *replaceAll(Pattern{step.content, {}}, i + 1 == tokens.size() ? "" : " ", tokens[i]);
    break;
  }
  return {};
}

} // namespace

Result<std::string> decodeTokens(const std::vector<Decoder> &steps,
                                 std::vector<std::string> tokens) {
  if (steps.empty())
    return joined(tokens, " ");
  for (const Decoder &step : steps)
    if (Result<void> done = apply(step, tokens); !done)
      return done.error();
  return joined(tokens, "");
}

} // namespace lorac::tok
