#include "runtime/tokenizer/Utf8.h"

#include <array>
#include <cstring>

namespace lorac::tok {
namespace {

/// What one ill- or well-formed sequence at the front of `bytes` looks like.
struct Sequence {
  size_t bytes = 1; // length of the well-formed character, or of the maximal ill-formed part
  bool valid = false;
};

Sequence frontSequence(std::string_view bytes) {
  auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  unsigned char lead = at(0);
  if (lead < 0x80)
    return {1, true};
  size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                  : lead >= 0xe0 && lead <= 0xef ? 3
                  : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                 : 0;
  if (length == 0)
    return {1, false};
  // The second byte's range excludes overlong forms, surrogates and what lies over U+10FFFF.
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size() || at(i) < low || at(i) > high)
      return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true};
}

} // namespace

std::optional<size_t> firstInvalidUtf8(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size()) {
    uint64_t eight;
    if (text.size() - pos >= sizeof eight) {
      std::memcpy(&eight, text.data() + pos, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) {
        pos += sizeof eight;
        continue;
      }
    }
    Sequence sequence = frontSequence(text.substr(pos));
    if (!sequence.valid)
      return pos;
    pos += sequence.bytes;
  }
  return std::nullopt;
}

size_t characterBytes(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

uint32_t nextCodePoint(std::string_view text, size_t &pos) {
  auto lead = static_cast<unsigned char>(text[pos]);
  size_t length = characterBytes(lead);
  static constexpr std::array<uint32_t, 5> leadBits = {0, 0x7f, 0x1f, 0x0f, 0x07};
  uint32_t codePoint = lead & leadBits[length];
  for (size_t i = 1; i < length; ++i)
    codePoint = codePoint << 6 | (static_cast<unsigned char>(text[pos + i]) & 0x3f);
  pos += length;
  return codePoint;
}

uint32_t lastCodePoint(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80)
    --begin;
  return nextCodePoint(text, begin);
}

void appendUtf8(std::string &out, uint32_t codePoint) {
  auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (codePoint < 0x80) {
    put(codePoint);
  } else if (codePoint < 0x800) {
    put(0xc0 | codePoint >> 6);
    put(0x80 | (codePoint & 0x3f));
  } else if (codePoint < 0x10000) {
    put(0xe0 | codePoint >> 12);
    put(0x80 | (codePoint >> 6 & 0x3f));
    put(0x80 | (codePoint & 0x3f));
  } else {
    put(0xf0 | codePoint >> 18);
    put(0x80 | (codePoint >> 12 & 0x3f));
    put(0x80 | (codePoint >> 6 & 0x3f));
    put(0x80 | (codePoint & 0x3f));
  }
}

std::string lossyUtf8(std::string_view bytes, bool bytewise) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t pos = 0; pos < bytes.size();) {
    Sequence sequence = frontSequence(bytes.substr(pos));
    if (sequence.valid)
      out.append(bytes.substr(pos, sequence.bytes));
    else
      out += "\xef\xbf\xbd";
    pos += bytewise && !sequence.valid ? 1 : sequence.bytes;
  }
  return out;
}

} // namespace lorac::tok
