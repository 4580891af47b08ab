#include "runtime/formats/FileKind.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>

namespace lorac::formats {
namespace {

using namespace std::string_view_literals;

constexpr struct {
  std::string_view magic;
  FileKind kind;
} magics[] = {{"GGUF"sv, FileKind::Gguf},
              {"version https://git-lfs"sv, FileKind::LfsPointer},
              {"version https://hawser"sv, FileKind::LfsPointer}, // its name before
              {"PK\x03\x04"sv, FileKind::Zip},
              {"PK\x05\x06"sv, FileKind::Zip},
              {"\x1f\x8b"sv, FileKind::Gzip},
              {"\xfd"
               "7zXZ\0"sv,
               FileKind::Xz},
              {"BZh"sv, FileKind::Bzip2},
              {"\x28\xb5\x2f\xfd"sv, FileKind::Zstd},
              {"7z\xbc\xaf\x27\x1c"sv, FileKind::SevenZip},
              {"\x89HDF\r\n"sv, FileKind::Hdf5},
              {"\xff\xfe"sv, FileKind::Utf16},
              {"\xfe\xff"sv, FileKind::Utf16}};

/// A pickle of protocol 2 to 5 begins so.
bool isPickle(std::string_view text) {
  return text.size() > 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5 &&
         (text[2] == '}' || text[2] == '\x95' || text[2] == ']' || text[2] == 'c' ||
          text[2] == '(' || text[2] == 'K' || text[2] == 'M' || text[2] == '\x8a');
}

bool isSafetensors(std::string_view text) {
  if (text.size() < 10)
    return false;
  uint64_t length;
  memcpy(&length, text.data(), 8);
  return length >= 2 && length <= 100'000'000 && text[8] == '{' &&
         (text[9] == '"' || text[9] == '}' || text[9] == ' ' || text[9] == '\n');
}

/// Letters, marks, line ends and whole UTF-8 alone, as far as one looks.
bool isText(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 ? c != '\t' && c != '\n' && c != '\r' && c != '\f' : c == 0x7f)
      return false;
    const size_t more = c < 0x80                ? 0
                        : c >= 0xc2 && c < 0xe0 ? 1
                        : c >= 0xe0 && c < 0xf0 ? 2
                        : c >= 0xf0 && c < 0xf5 ? 3
                                                : 4;
    if (more == 4)
      return false;
    for (size_t k = 1; k <= more && i + k < text.size(); ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80)
        return false;
    i += more;
  }
  return true;
}

bool beginsWith(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) {
           return a == std::tolower(static_cast<unsigned char>(b));
         });
}

} // namespace

FileKind fileKind(std::span<const uint8_t> bytes) {
  if (bytes.empty())
    return FileKind::Empty;
  const std::string_view text(reinterpret_cast<const char *>(bytes.data()),
                              std::min<size_t>(bytes.size(), 1024));
  if (isSafetensors(text)) // its first bytes are a length and may be anything
    return FileKind::Safetensors;
  for (const auto &known : magics)
    if (text.starts_with(known.magic))
      return known.kind;
  if (isPickle(text))
    return FileKind::Pickle;
  if (text.size() > 262 && text.substr(257, 5) == "ustar")
    return FileKind::Tar;
  const size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first == std::string_view::npos)
    return FileKind::Other;
  const std::string_view words = text.substr(first);
  if (beginsWith(words, "<!doctype html") || beginsWith(words, "<html") ||
      beginsWith(words, "<head") || beginsWith(words, "<?xml"))
    return FileKind::Html;
  if (words.front() == '{' || words.front() == '[')
    return FileKind::Json;
  if (text.size() > 12 && text[0] == '\x08' && text.find("onnx") != std::string_view::npos)
    return FileKind::Onnx;
  return text.size() >= 8 && isText(text) ? FileKind::Text : FileKind::Other;
}

std::string describe(FileKind kind) {
  switch (kind) {
  case FileKind::Empty:
    return "is empty: fetch or save it again";
  case FileKind::LfsPointer:
    return "is a git-lfs pointer and not the file itself: run 'git lfs pull' in its repository, or "
           "download the file";
  case FileKind::Html:
    return "is a web page and not the file itself: the download answered with a page (a login, an "
           "error); fetch it again";
  case FileKind::Gguf:
    return "is a GGUF file";
  case FileKind::Safetensors:
    return "is a safetensors file";
  case FileKind::Zip:
    return "is a zip file, as torch.save writes it: a pickle or a zip can run code and is not "
           "read; save it as safetensors";
  case FileKind::Pickle:
    return "is a pickle, which can run code and is not read; save it as safetensors";
  case FileKind::Gzip:
    return "is compressed by gzip: unpack it with 'gunzip'";
  case FileKind::Xz:
    return "is compressed by xz: unpack it with 'unxz'";
  case FileKind::Bzip2:
    return "is compressed by bzip2: unpack it with 'bunzip2'";
  case FileKind::Zstd:
    return "is compressed by zstd: unpack it with 'unzstd'";
  case FileKind::SevenZip:
    return "is an archive of 7-Zip: unpack it with '7z x'";
  case FileKind::Tar:
    return "is a tar archive: unpack it with 'tar xf'";
  case FileKind::Hdf5:
    return "is an HDF5 file (of Keras), which is not read; save it as safetensors";
  case FileKind::Onnx:
    return "is an ONNX file, which is not read; save the model as safetensors";
  case FileKind::Utf16:
    return "is text in UTF-16: save it as UTF-8";
  case FileKind::Json:
    return "is JSON text";
  case FileKind::Text:
    return "is plain text";
  case FileKind::Other:
    break;
  }
  return "";
}

} // namespace lorac::formats
