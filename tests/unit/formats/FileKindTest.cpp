// Files called by their names, by their first bytes.
#include "runtime/formats/FileKind.h"
#include "tests/unit/formats/Support.h"

namespace lorac::formats {
namespace {

FileKind kindOf(std::string_view text) {
  return fileKind({reinterpret_cast<const uint8_t *>(text.data()), text.size()});
}

TEST(FileKind, byTheFirstBytes) {
  using namespace std::string_view_literals;
  for (const auto &[text, kind] : std::vector<std::pair<std::string_view, FileKind>>{
           {"", FileKind::Empty},
           {"GGUF\3\0\0\0"sv, FileKind::Gguf},
           {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            FileKind::LfsPointer},
           {"  \n<!DOCTYPE html>", FileKind::Html},
           {"<HTML>", FileKind::Html},
           {"<?xml version='1.0'?><Error/>", FileKind::Html},
           {"PK\3\4 zipped"sv, FileKind::Zip},
           {"\x80\2}q\0("sv, FileKind::Pickle},
           {"\x80\4\x95\0\0"sv, FileKind::Pickle},
           {"\x1f\x8b\b"sv, FileKind::Gzip},
           {"\xff\xfe{\0"sv, FileKind::Utf16},
           {"\xfe\xff\0{"sv, FileKind::Utf16},
           {"{}", FileKind::Json},
           {"\xef\xbb\xbf {}", FileKind::Json},
           {"[1]", FileKind::Json},
           {"hello", FileKind::Other},
           {"\x02\0\0\0\0\0\0\0{}"sv, FileKind::Safetensors},
           // A header of 640 bytes, whose length begins as a pickle does.
           {"\x80\2\0\0\0\0\0\0{\"a\""sv, FileKind::Safetensors},
           // And one whose length begins as gzip does.
           {"\x1f\x8b\0\0\0\0\0\0{\"a\""sv, FileKind::Safetensors}}) {
    EXPECT_EQ(kindOf(text), kind) << text;
    EXPECT_EQ(describe(kind).empty(), kind == FileKind::Other);
  }
}

} // namespace
} // namespace lorac::formats
