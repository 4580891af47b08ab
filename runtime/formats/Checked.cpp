#include "runtime/formats/Checked.h"

#include <fmt/format.h>

namespace lorac::formats {

std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (text.size() >= 120)
      return text + "…";
    if (c >= 0x20 && c < 0x7f && c != '\'' && c != '\\')
      text += c;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

std::string shownShape(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string listed(std::span<const std::string> words, std::string_view last) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? fmt::format(" {} ", last) : ", ") + words[i];
  return text;
}

} // namespace lorac::formats
