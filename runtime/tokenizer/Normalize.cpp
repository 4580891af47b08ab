// The normalizers: Unicode's forms by utf8proc's tables, and replacements.
#include "runtime/tokenizer/ByteLevel.h"
#include "runtime/tokenizer/CharacterClasses.h"
#include "runtime/tokenizer/Components.h"
#include "runtime/tokenizer/Replace.h"
#include "runtime/tokenizer/Utf8.h"

#include <utf8proc.h>

#include <algorithm>

namespace lorac::tok {
namespace {

/// Below this no character changes under the form.
uint32_t firstAffected(bool compose, bool compatibility) {
  return compose && !compatibility ? 0x300 : 0x80;
}

bool unaffected(std::string_view text, uint32_t first) {
  for (size_t pos = 0; pos < text.size();)
    if (nextCodePoint(text, pos) >= first)
      return false;
  return true;
}

/// Marks sorted by combining class between starters. utf8proc's own sort is quadratic in a run.
void reorderMarks(std::vector<utf8proc_int32_t> &codePoints) {
  auto combiningClass = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  for (size_t begin = 0; begin < codePoints.size();) {
    if (combiningClass(codePoints[begin]) == 0) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < codePoints.size() && combiningClass(codePoints[end]) != 0)
      ++end;
    std::stable_sort(codePoints.begin() + static_cast<long>(begin),
                     codePoints.begin() + static_cast<long>(end),
                     [&](auto a, auto b) { return combiningClass(a) < combiningClass(b); });
    begin = end;
  }
}

std::string unicodeForm(std::string_view text, bool compose, bool compatibility) {
  if (unaffected(text, firstAffected(compose, compatibility)))
    return std::string(text);
  auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                (compatibility ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> codePoints;
  codePoints.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    constexpr size_t longestExpansion = 32; // of one character, U+FDFA's 18 being the longest
    utf8proc_int32_t parts[longestExpansion];
    auto codePoint = static_cast<utf8proc_int32_t>(nextCodePoint(text, pos));
    int boundary = 0;
    auto count = utf8proc_decompose_char(codePoint, parts, longestExpansion, options, &boundary);
    if (count < 0 || count > static_cast<utf8proc_ssize_t>(longestExpansion))
      codePoints.push_back(codePoint);
    else
      codePoints.insert(codePoints.end(), parts, parts + count);
  }
  reorderMarks(codePoints);
  size_t size = codePoints.size();
  if (compose) {
    auto composed = utf8proc_normalize_utf32(
        codePoints.data(), static_cast<utf8proc_ssize_t>(size),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (composed >= 0)
      size = static_cast<size_t>(composed);
  }
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < size; ++i)
    appendUtf8(out, static_cast<uint32_t>(codePoints[i]));
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    uint32_t codePoint = nextCodePoint(text, pos);
    appendUtf8(out,
               static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(codePoint))));
    if (codePoint == 0x130) // the one letter whose lower case is two characters
      appendUtf8(out, 0x307);
  }
  return out;
}

std::string withoutMarks(std::string_view text) {
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    size_t begin = pos;
    if (!isNonSpacingMark(nextCodePoint(text, pos)))
      out += text.substr(begin, pos - begin);
  }
  return out;
}

std::string stripped(std::string_view text, bool left, bool right) {
  size_t begin = 0;
  for (size_t pos = 0; left && pos < text.size(); begin = pos)
    if (!isSpace(nextCodePoint(text, pos)))
      break;
  size_t end = text.size();
  while (right && end > begin && isSpace(lastCodePoint(text, end)))
    do
      --end;
    while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return std::string(text.substr(begin, end - begin));
}

Result<std::string> apply(const Normalizer &step, std::string text) {
  using Kind = Normalizer::Kind;
  switch (step.kind) {
  case Kind::Nfc:
    return unicodeForm(text, true, false);
  case Kind::Nfd:
    return unicodeForm(text, false, false);
  case Kind::Nfkc:
    return unicodeForm(text, true, true);
  case Kind::Nfkd:
    return unicodeForm(text, false, true);
  case Kind::Lowercase:
    return lowercase(text);
  case Kind::StripAccents:
    return withoutMarks(text);
  case Kind::Prepend:
    return text.empty() ? text : step.content + text;
  case Kind::Replace:
    return replaceAll(step.pattern, step.content, text);
  case Kind::Strip:
    return stripped(text, step.left, step.right);
  case Kind::ByteLevel: {
    std::string out;
    appendByteLevel(out, text);
    return out;
  }
  }
  return text;
}

} // namespace

Result<std::string> normalize(const std::vector<Normalizer> &steps, std::string_view text,
                              bool &atStart) {
  std::string current(text);
  for (const Normalizer &step : steps) {
    if (size_t at = 0; !current.empty()) {
      uint32_t first = nextCodePoint(current, at);
      if ((step.kind == Normalizer::Kind::Strip && step.left && isSpace(first)) ||
          (step.kind == Normalizer::Kind::StripAccents && isNonSpacingMark(first)))
        atStart = false;
    }
    auto next = apply(step, std::move(current));
    if (!next)
      return next.error();
    current = std::move(*next);
  }
  return current;
}

} // namespace lorac::tok
