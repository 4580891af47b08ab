#include "runtime/train/DataKind.h"

#include "runtime/tokenizer/Utf8.h"

#include <algorithm>

namespace lorac::train {

using namespace std::string_view_literals;

std::optional<std::string> binaryKind(std::string_view bytes) {
  struct Magic {
    std::string_view bytes;
    const char *what;
  };
  static constexpr Magic known[] = {
      {"PK\x03\x04"sv, "a zip archive (docx, xlsx and epub are too); write its text to a file"},
      {"\x1f\x8b"sv, "compressed by gzip; unpack it first"},
      {"\x28\xb5\x2f\xfd"sv, "compressed by zstd; unpack it first"},
      {"\xfd"
       "7zXZ\0"sv,
       "compressed by xz; unpack it first"},
      {"BZh"sv, "compressed by bzip2; unpack it first"},
      {"%PDF-"sv, "a PDF; write its text to a file"},
      {"PAR1"sv, "a Parquet file; write its texts to a .jsonl file"},
      {"ARROW1"sv, "an Arrow file; write its texts to a .jsonl file"},
      {"GGUF"sv, "a GGUF file, which holds a model or an adapter; name a text"},
      {"SQLite format 3\0"sv, "an SQLite database; write its texts to a .jsonl file"},
      {"\x89PNG"sv, "a picture; name a text"},
      {"\xff\xd8\xff"sv, "a picture; name a text"},
      {"\x7f"
       "ELF"sv,
       "a program; name a text"},
      {"version https://git-lfs.github.com/"sv,
       "a git-lfs pointer and not the file itself; fetch it with `git lfs pull`"},
  };
  for (const Magic &magic : known)
    if (bytes.starts_with(magic.bytes))
      return magic.what;
  return std::nullopt;
}

std::optional<std::string> otherTextKind(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos)
    return std::nullopt;
  text.remove_prefix(first);
  std::string head(text.substr(0, 16));
  std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : char(c);
  });
  for (const char *html : {"<!doctype html", "<html"})
    if (head.starts_with(html))
      return "HTML: its tags are trained on";
  if (head.starts_with("<?xml"))
    return "XML: its tags are trained on";
  if (head.starts_with("{\\rtf"))
    return "RTF: its marks are trained on";
  // An object or a list of objects, as JSON writes them.
  size_t at = text.find_first_not_of(" \t\r\n", text[0] == '[' ? 1 : 0);
  if (at == std::string_view::npos || text[at] != '{')
    return std::nullopt;
  at = text.find_first_not_of(" \t\r\n", at + 1);
  if (at == std::string_view::npos || text[at] != '"')
    return std::nullopt;
  return "JSON: its braces and keys are trained on; format = \"jsonl\" takes the \"text\" of each "
         "line";
}

std::string quotedStart(std::string_view text, size_t characters) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  text.remove_prefix(first == std::string_view::npos ? 0 : first);
  std::string out = "\"";
  size_t at = 0;
  for (size_t count = 0; at < text.size() && count < characters; ++count) {
    const size_t bytes =
        std::min(tok::characterBytes(static_cast<unsigned char>(text[at])), text.size() - at);
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == '\n')
      out += "\\n";
    else if (byte == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7f)
      out += '?';
    else
      out += text.substr(at, bytes);
    at += bytes;
  }
  return out + (at < text.size() ? "…\"" : "\"");
}

} // namespace lorac::train
