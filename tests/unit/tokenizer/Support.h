#pragma once
// What the tokenizer's tests share: expected ids from files, models that may be absent.

#include "runtime/tokenizer/Tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace lorac::testing {

inline std::string goldenPath(const std::string &name) {
  return std::string(LORAC_SOURCE_DIR) + "/tests/golden/tokenizer/" + name;
}

/// ../shared/data, where a checkout has it beside.
inline std::string sharedPath(const std::string &name) {
  return std::string(LORAC_SOURCE_DIR) + "/../shared/data/" + name;
}

/// SmolLM2's file; empty where there is none.
inline std::string smollm2Path() {
  if (const char *given = std::getenv("LORAC_SMOLLM2"))
    return given;
  std::string path = std::string(LORAC_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  return std::filesystem::exists(path) ? path : "";
}

inline std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline nlohmann::json readJsonFile(const std::string &path) {
  return nlohmann::json::parse(readFile(path));
}

/// A loaded tokenizer; ends the test program where it does not load.
inline Tokenizer mustLoad(const std::string &path) {
  auto tokenizer = Tokenizer::load(path);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message << "\n";
    std::abort();
  }
  return *tokenizer;
}

inline std::vector<int32_t> idsOf(const Tokenizer &tokenizer, std::string_view text) {
  auto ids = tokenizer.encode(text);
  EXPECT_TRUE(ids) << (ids ? "" : ids.error().message);
  return ids ? *ids : std::vector<int32_t>{};
}

inline std::string textOf(const Tokenizer &tokenizer, const std::vector<int32_t> &ids,
                          bool skipSpecial = false) {
  auto text = tokenizer.decode(ids, skipSpecial);
  EXPECT_TRUE(text) << (text ? "" : text.error().message);
  return text ? *text : "";
}

/// The same text id by id.
inline std::string streamed(const Tokenizer &tokenizer, const std::vector<int32_t> &ids,
                            bool skipSpecial = false) {
  StreamDecoder decoder(tokenizer, skipSpecial);
  std::string text;
  for (int32_t id : ids) {
    auto piece = decoder.push(id);
    EXPECT_TRUE(piece);
    text += piece ? *piece : "";
  }
  auto rest = decoder.finish();
  EXPECT_TRUE(rest);
  return text + (rest ? *rest : "");
}

/// Each of `cases`: "text" gives "ids", and these give "decoded" (the text, where absent), also id
/// by id with `stream`; and "decoded_skip_special" (as "decoded", where absent).
inline void expectCases(const Tokenizer &tokenizer, const nlohmann::json &cases, bool stream = true,
                        bool decode = true) {
  ASSERT_FALSE(cases.empty());
  for (const auto &expected : cases) {
    std::string text = expected["text"];
    std::string decoded = expected.value("decoded", text);
    auto ids = expected["ids"].get<std::vector<int32_t>>();
    SCOPED_TRACE(expected["text"].dump());
    EXPECT_EQ(idsOf(tokenizer, text), ids);
    if (!decode)
      continue;
    EXPECT_EQ(textOf(tokenizer, ids), decoded);
    EXPECT_EQ(textOf(tokenizer, ids, true), expected.value("decoded_skip_special", decoded));
    if (stream) {
      EXPECT_EQ(streamed(tokenizer, ids), decoded);
    }
  }
}

/// A file of this content in the tests' temporary folder; a tokenizer.json lies in a folder of its
/// own, so that no neighbour counts.
inline std::string writeTemporary(const std::string &folder, const std::string &name,
                                  const std::string &content) {
  auto path =
      std::filesystem::path(::testing::TempDir()) / ("lorac-" + std::to_string(getpid())) / folder;
  std::filesystem::create_directories(path);
  std::ofstream(path / name, std::ios::binary) << content;
  return (path / name).string();
}

/// The error of a load that must fail.
inline Error loadError(const std::string &path) {
  auto tokenizer = Tokenizer::load(path);
  EXPECT_FALSE(tokenizer) << path;
  return tokenizer ? Error{} : tokenizer.error();
}

} // namespace lorac::testing
