// Which loader a path calls for.
#include "runtime/formats/FileKind.h"
#include "runtime/formats/MappedFile.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/tokenizer/TokenizerGguf.h"
#include "runtime/tokenizer/TokenizerJson.h"

#include <filesystem>

namespace lorac {

using namespace tok;

namespace {

namespace fs = std::filesystem;

Error inFile(const std::string &path, const Error &error) {
  return Error{"file '" + path + "': " + error.message, error.code};
}

std::string_view textOf(const formats::MappedFile &file) {
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

/// Files beside a tokenizer.json, in the order in which later ones may override.
Result<void> applyNeighbours(const fs::path &folder, VocabularyData &data) {
  for (const char *name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    fs::path path = folder / name;
    std::error_code ignored;
    if (!fs::exists(path, ignored))
      continue;
    auto file = formats::MappedFile::open(path.string());
    if (!file)
      return file.error();
    if (Result<void> done = applyTokenizerConfig(textOf(**file), data); !done)
      return inFile(path.string(), done.error());
  }
  return {};
}

} // namespace

Result<VocabularyData> tok::loadTokenizerJson(const std::string &path) {
  auto file = formats::MappedFile::open(path);
  if (!file)
    return file.error();
  auto data = readTokenizerJson(textOf(**file));
  if (!data)
    return inFile(path, data.error());
  if (Result<void> done = applyNeighbours(fs::path(path).parent_path(), *data); !done)
    return done.error();
  return data;
}

Result<Tokenizer> Tokenizer::load(const std::string &path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    fs::path inside = fs::path(path) / "tokenizer.json";
    if (!fs::exists(inside, ignored))
      return Error{"folder '" + path + "' has no 'tokenizer.json'" +
                       (fs::exists(fs::path(path) / "tokenizer.model", ignored)
                            ? "; its 'tokenizer.model' is not read: save the tokenizer with the "
                              "transformers package, which writes one"
                            : ""),
                   Exit::Failed};
    return load(inside.string());
  }
  auto file = formats::MappedFile::open(path);
  if (!file)
    return file.error();
  std::string_view text = textOf(**file);
  if (text.substr(0, 4) != "GGUF") {
    const formats::FileKind kind = formats::fileKind((*file)->bytes());
    const std::string what = formats::describe(kind);
    if (kind != formats::FileKind::Json)
      return Error{"file '" + path + "' " +
                       (what.empty()
                            ? "is neither a GGUF file nor a tokenizer.json"
                            : what + ", where a tokenizer.json or a GGUF file was expected"),
                   Exit::ForeignFile};
    auto data = loadTokenizerJson(path);
    return data ? Result<Tokenizer>(fromData(std::move(*data))) : data.error();
  }
  auto gguf = formats::Gguf::parse(*file, formats::GgufParts::Keys);
  if (!gguf)
    return gguf.error();
  auto data = readTokenizerGguf(*gguf);
  if (!data)
    return data.error();
  return fromData(std::move(*data));
}

} // namespace lorac
