#include "runtime/tokenizer/ByteLevel.h"

#include "runtime/tokenizer/Utf8.h"

#include <array>

namespace lorac::tok {
namespace {

/// Printable bytes stand for themselves; the others take U+0100, U+0101, ... in order.
struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, 0x144> bytes;

  Alphabet() {
    bytes.fill(-1);
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      bool printable =
          (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      uint32_t codePoint = printable ? byte : next++;
      appendUtf8(characters[byte], codePoint);
      bytes[codePoint] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet &alphabet() {
  static const Alphabet instance;
  return instance;
}

} // namespace

void appendByteLevel(std::string &out, std::string_view text) {
  const Alphabet &letters = alphabet();
  for (char byte : text)
    out += letters.characters[static_cast<unsigned char>(byte)];
}

int byteOfCodePoint(uint32_t codePoint) {
  const Alphabet &letters = alphabet();
  return codePoint < letters.bytes.size() ? letters.bytes[codePoint] : -1;
}

std::string bytesOfToken(std::string_view token) {
  std::string out;
  for (size_t pos = 0; pos < token.size();) {
    int byte = byteOfCodePoint(nextCodePoint(token, pos));
    if (byte < 0)
      return std::string(token);
    out.push_back(static_cast<char>(byte));
  }
  return out;
}

} // namespace lorac::tok
