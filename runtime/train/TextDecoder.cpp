#include "runtime/train/TextDecoder.h"

#include "runtime/tokenizer/Utf8.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::train {

namespace {

Error refused(const std::string &message) { return {message, Exit::Refused}; }

/// Moves line and column over `text`. CR, LF and CRLF end a line.
void advance(std::string_view text, bool behindCr, uint64_t &line, uint64_t &column) {
  for (char c : text) {
    const bool ofCrLf = c == '\n' && behindCr;
    behindCr = c == '\r';
    if (ofCrLf)
      continue;
    if (c == '\n' || c == '\r')
      ++line, column = 1;
    else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80)
      ++column;
  }
}

} // namespace

Result<void> TextDecoder::push(std::string_view bytes, std::string &out) {
  waiting += bytes;
  return decode(false, out);
}

Result<void> TextDecoder::finish(std::string &out) { return decode(true, out); }

/// By the first four bytes.
Result<void> TextDecoder::recognise(bool atEnd) {
  if (kind != Kind::Unknown || (waiting.size() < 4 && !atEnd))
    return {};
  using namespace std::string_view_literals;
  const std::string_view head = std::string_view(waiting).substr(0, 4);
  if (head == "\xff\xfe\0\0"sv || head == "\0\0\xfe\xff"sv)
    return refused("is UTF-32 by its byte order mark, which is not read; save it as UTF-8");
  size_t mark = 0;
  kind = Kind::Utf8;
  if (head.starts_with("\xef\xbb\xbf"sv))
    mark = 3;
  else if (head.starts_with("\xff\xfe"sv))
    kind = Kind::Utf16Little, mark = 2;
  else if (head.starts_with("\xfe\xff"sv))
    kind = Kind::Utf16Big, mark = 2;
  else if (head.size() == 4 && (head[0] == 0) != (head[1] == 0) &&
           (head[2] == 0) == (head[0] == 0) && (head[3] == 0) == (head[1] == 0))
    return refused("looks like UTF-16 without a byte order mark; save it as UTF-8");
  waiting.erase(0, mark);
  return {};
}

Result<void> TextDecoder::decode(bool atEnd, std::string &out) {
  if (Result<void> known = recognise(atEnd); !known || kind == Kind::Unknown)
    return known;
  if (wasUtf16())
    LORAC_TRY(decodeUtf16(atEnd));
  std::string &text = wasUtf16() ? units : waiting;
  size_t good = text.size();
  if (auto bad = tok::firstInvalidUtf8(text)) {
    // The last character may go on in the next part.
    good = *bad;
    const auto lead = static_cast<unsigned char>(text[good]);
    const bool maybeCut = lead >= 0xc2 && lead < 0xf5 && text.size() - good < 4 &&
                          tok::characterBytes(lead) > text.size() - good;
    if (atEnd || !maybeCut)
      return refused(
          fmt::format("is not UTF-8 at {}: byte 0x{:02x}; convert it, or leave it out of "
                      "'path'",
                      place(std::string_view(text).substr(0, good)), lead));
  }
  append(std::string_view(text).substr(0, good), out);
  text.erase(0, good);
  return {};
}

Result<void> TextDecoder::decodeUtf16(bool atEnd) {
  size_t at = 0;
  const auto unit = [&](size_t index) {
    const auto low = static_cast<unsigned char>(waiting[index]);
    const auto high = static_cast<unsigned char>(waiting[index + 1]);
    return kind == Kind::Utf16Little ? uint32_t(low | high << 8) : uint32_t(low << 8 | high);
  };
  const auto wrong = [&](const char *what) {
    return refused(
        fmt::format("is UTF-16 by its byte order mark, but {} at {}", what, place(units)));
  };
  for (; at + 1 < waiting.size(); at += 2) {
    uint32_t code = unit(at);
    if (code >= 0xdc00 && code < 0xe000)
      return wrong("has half a surrogate pair");
    if (code >= 0xd800 && code < 0xdc00) {
      if (at + 3 >= waiting.size())
        break;
      const uint32_t low = unit(at + 2);
      if (low < 0xdc00 || low >= 0xe000)
        return wrong("has half a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      at += 2;
    }
    tok::appendUtf8(units, code);
  }
  waiting.erase(0, at);
  if (atEnd && !waiting.empty())
    return wrong(waiting.size() % 2 ? "ends within a character" : "has half a surrogate pair");
  return {};
}

void TextDecoder::append(std::string_view text, std::string &out) {
  advance(text, skipLf, line, column);
  if (text.find('\r') == std::string_view::npos && !skipLf) {
    out += text;
    return;
  }
  for (char c : text) {
    const bool ofCrLf = c == '\n' && skipLf;
    skipLf = c == '\r';
    sawCr |= skipLf;
    if (!ofCrLf)
      out += skipLf ? '\n' : c;
  }
}

std::string TextDecoder::place(std::string_view text) const {
  uint64_t atLine = line, atColumn = column;
  advance(text, skipLf, atLine, atColumn);
  return fmt::format("line {}, column {}", atLine, atColumn);
}

std::string decodedSeparator(const std::string &separator) {
  std::string out;
  for (size_t i = 0; i < separator.size(); ++i) {
    if (separator[i] == '\r') {
      out += '\n';
      i += i + 1 < separator.size() && separator[i + 1] == '\n';
    } else {
      out += separator[i];
    }
  }
  return out;
}

} // namespace lorac::train
