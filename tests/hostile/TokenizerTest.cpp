// Vocabularies in GGUF files and tokenizer.json made to break a reader, through the door that users
// come in by: rows 11, 13-16 and 26-29 of what has broken others, and 38 as far as messages go.
#include "runtime/tokenizer/Tokenizer.h"
#include "tests/hostile/Refuse.h"

namespace lorac::hostile {
namespace {

const auto read = onDisk([](const std::string &path) { return Tokenizer::load(path); });

constexpr uint32_t U8 = 0, U32 = 4, I32 = 5, F32 = 6, Bool = 7, Text = 8, Array = 9, U64 = 10,
                   I64 = 11, F64 = 12;

/// GGUF metadata, key by key.
class Keys {
public:
  /// Any key: its type and the bytes of its value.
  Keys &key(const std::string &name, uint32_t type, const Bytes &value) {
    ++count;
    all.text(name).u32(type).raw(value.data);
    return *this;
  }
  Keys &text(const std::string &name, std::string_view value) {
    return key(name, Text, Bytes().text(value));
  }
  Keys &texts(const std::string &name, const std::vector<std::string> &values) {
    Bytes list = Bytes().u32(Text).u64(values.size());
    for (const std::string &value : values)
      list.text(value);
    return key(name, Array, list);
  }
  /// `size` zero bytes as `length` elements.
  Keys &zeros(const std::string &name, uint32_t element, uint64_t length, size_t size) {
    return key(name, Array, Bytes().u32(element).u64(length).zeros(length * size));
  }
  Bytes file() const { return Bytes().raw("GGUF").u32(3).u64(0).u64(count).raw(all.data); }

private:
  uint64_t count = 0;
  Bytes all;
};

/// A SentencePiece-type vocabulary of three tokens, but for its scores.
Keys unscored() {
  return Keys()
      .text("tokenizer.ggml.model", "llama")
      .texts("tokenizer.ggml.tokens", {"a", "b", "ab"});
}
Keys sentencePiece() { return unscored().zeros("tokenizer.ggml.scores", F32, 3, 4); }
Keys byteLevel() {
  return Keys()
      .text("tokenizer.ggml.model", "gpt2")
      .texts("tokenizer.ggml.tokens", {"a", "b", "ab"});
}

Bytes json(const std::string &vocabulary, const std::string &merges = "[]",
           const std::string &more = "") {
  return Bytes().raw(R"({"model": {"vocab": )" + vocabulary + R"(, "merges": )" + merges + "}" +
                     more + "}");
}

class HostileVocabulary : public InOwnFolder {
protected:
  void SetUp() override {
    InOwnFolder::SetUp();
    // What is built once for all stays out of the measuring.
    for (const Bytes &good : {sentencePiece().file(), json(R"({"a": 0})"),
                              byteLevel().texts("tokenizer.ggml.merges", {"a b"}).file()}) {
      auto tokenizer = read(formats::MappedFile::ofBytes("good", good.vector()));
      ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    }
  }
};

TEST_F(HostileVocabulary, elementTypes) { // 13
  for (const auto &[element, size] : {std::pair{U8, 1}, {I32, 4}, {U32, 4}, {F64, 8}})
    expectRefused("scores", unscored().zeros("tokenizer.ggml.scores", element, 3, size).file(),
                  "key 'tokenizer.ggml.scores' at byte ", read);
  for (const auto &[element, size] : {std::pair{U8, 1}, {F32, 4}, {I64, 8}, {Bool, 1}})
    expectRefused("types",
                  sentencePiece().zeros("tokenizer.ggml.token_type", element, 3, size).file(),
                  "key 'tokenizer.ggml.token_type' at byte ", read);
  expectRefused(
      "tokens",
      Keys().text("tokenizer.ggml.model", "gpt2").zeros("tokenizer.ggml.tokens", U8, 3, 1).file(),
      "key 'tokenizer.ggml.tokens' at byte ", read);
  expectRefused("merges", byteLevel().zeros("tokenizer.ggml.merges", U8, 3, 1).file(),
                "key 'tokenizer.ggml.merges' at byte ", read);
  for (const char *flag : {"add_bos_token", "add_eos_token", "add_space_prefix"})
    expectRefused(
        flag,
        sentencePiece().key("tokenizer.ggml." + std::string(flag), U32, Bytes().u32(1)).file(),
        "key 'tokenizer.ggml." + std::string(flag) + "' at byte ", read);
}

TEST_F(HostileVocabulary, parallelArrays) { // 14
  for (const uint64_t length : {0, 2, 4}) {
    const std::string words = "has " + std::to_string(length) + " values, but there are 3 tokens";
    expectRefused("scores", unscored().zeros("tokenizer.ggml.scores", F32, length, 4).file(),
                  "'tokenizer.ggml.scores' " + words, read);
    expectRefused("types",
                  sentencePiece().zeros("tokenizer.ggml.token_type", I32, length, 4).file(),
                  "'tokenizer.ggml.token_type' " + words, read);
  }
  expectRefused(
      "no tokens",
      Keys().text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {}).file(),
      "'tokenizer.ggml.tokens' has 0 tokens", read);
}

TEST_F(HostileVocabulary, specialIds) { // 15
  for (const char *name : {"bos", "eos", "unknown", "padding", "seperator", "mask", "eot", "eom"}) {
    const std::string key = "tokenizer.ggml." + std::string(name) + "_token_id";
    for (const Keys &good : {sentencePiece(), byteLevel().texts("tokenizer.ggml.merges", {})}) {
      const auto with = [&](uint32_t type, const Bytes &value) {
        return Keys(good).key(key, type, value).file();
      };
      for (const int64_t id : {int64_t(3), int64_t(-1), int64_t(1) << 31, INT64_MIN})
        expectRefused(
            key, with(I64, Bytes().number(id)),
            "'" + key + "' is " + std::to_string(id) + ", but the vocabulary has 3 tokens", read);
      expectRefused(key, with(U64, Bytes().u64(UINT64_MAX)), "key '" + key + "' at byte ", read);
      expectRefused(key, with(F32, Bytes().number(1.0f)), "key '" + key + "' at byte ", read);
      expectRefused(key, with(Text, Bytes().text("1")), "key '" + key + "' at byte ", read);
    }
  }
  // Ids that no key gives: 1 for bos, 2 for eos.
  for (const auto &[tokens, words] :
       {std::pair<std::vector<std::string>, std::string>{{"a"}, "bos_token_id' is absent"},
        {{"a", "b"}, "eos_token_id' is absent"}})
    expectRefused(words,
                  Keys()
                      .text("tokenizer.ggml.model", "llama")
                      .texts("tokenizer.ggml.tokens", tokens)
                      .zeros("tokenizer.ggml.scores", F32, tokens.size(), 4)
                      .file(),
                  words, read);
}

TEST_F(HostileVocabulary, charsmaps) { // 16
  for (const uint64_t size : {0, 3, 7}) {
    const std::string key = "tokenizer.ggml.precompiled_charsmap";
    expectRefused("of a vocabulary that is not read",
                  Keys()
                      .text("tokenizer.ggml.model", "t5")
                      .texts("tokenizer.ggml.tokens", {"a"})
                      .zeros(key, U8, size, 1)
                      .file(),
                  "'tokenizer.ggml.model' is 't5'", read);
    EXPECT_TRUE(read(formats::MappedFile::ofBytes(
        "unused", sentencePiece().zeros(key, U8, size, 1).file().vector())));
  }
  expectRefused("of tokenizer.json",
                json(R"({"a": 0})", "[]",
                     R"(, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAA="})"),
                "'normalizer' has type 'Precompiled', which is not known", read);
}

TEST_F(HostileVocabulary, merges) { // 26
  expectRefused("longer than the longest token", json(R"({"a": 0, "b": 1})", R"(["a b"])"),
                "'model.merges[0]' joins 'a' and 'b', but 'ab' is not in 'model.vocab'", read);
  expectRefused("prefix", Bytes().raw(R"({"model": {"vocab": {"a": 0, "b": 1}, "merges": ["a b"],
                                          "continuing_subword_prefix": "######"}})"),
                "does not begin with the prefix '######'", read);
  expectRefused("of GGUF", byteLevel().texts("tokenizer.ggml.merges", {"ab a"}).file(),
                "'tokenizer.ggml.merges[0]' joins 'ab' and 'a', but 'aba' is no token", read);
}

TEST_F(HostileVocabulary, ids) { // 27
  for (const std::string id : {"2147483647", "2147483648", "9223372036854775807", "-1", "1"})
    expectRefused(id, json("{\"a\": " + id + "}"),
                  "gives 'a' the id " + id + ", but there are only 1 tokens", read);
  expectRefused("gap", json(R"({"a": 0, "b": 2})"), "the id 2, but there are only 2", read);
  expectRefused(
      "gap filled by a token that stands already",
      json(R"({"a": 0, "b": 2})", "[]", R"(, "added_tokens": [{"id": 2, "content": "b"}])"),
      "no token has the id 1", read);
  expectRefused(
      "added",
      json(R"({"a": 0})", "[]", R"(, "added_tokens": [{"id": 2147483647, "content": "b"}])"),
      "gives 'b' the id 2147483647", read);
  expectRefused("around a text", json(R"({"a": 0})", "[]", R"(, "post_processor":
                    {"type": "BertProcessing", "cls": ["a", 0], "sep": ["b", 2147483647]})"),
                "'post_processor' names the id 2147483647, but the vocabulary has 1 tokens", read);
}

TEST_F(HostileVocabulary, modelsOfSentencePiece) { // 28
  // Its own files are not read at all.
  expectRefused("protobuf", Bytes().raw("\n\x0e\n\x05<unk>\x15").zeros(40),
                "is neither a GGUF file nor a tokenizer.json", read);
  write("tokenizer.model", "\n\x0e\n\x05<unk>");
  Result<Tokenizer> folder = Tokenizer::load(".");
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().message.find("its 'tokenizer.model' is not read"), std::string::npos)
      << folder.error().message;
}

TEST_F(HostileVocabulary, deepAndLongTexts) { // 29
  expectRefused("arrays", Bytes().raw(R"({"model": )" + std::string(100000, '[')),
                "nests deeper than 64", read);
  std::string objects, escapes = "{\"";
  for (int i = 0; i < 100000; ++i)
    objects += "{\"a\":";
  for (int i = 0; i < 170000; ++i)
    escapes += "\\u0061";
  expectRefused("objects", Bytes().raw(objects), "nests deeper than 64", read);
  expectRefused("escapes", Bytes().raw(escapes), "not JSON at byte", read);
  expectRefused("pattern",
                json(R"({"a": 0})", "[]",
                     R"(, "pre_tokenizer": {"type": "Split",
                    "behavior": "Isolated", "pattern": {"Regex": ")" +
                         std::string(1000, '(') + "\"}}"),
                "'pre_tokenizer' has a bad pattern '((((", read);
}

TEST_F(HostileVocabulary, namesInMessages) { // 38
  // expectRefused takes no control characters and no long messages.
  const std::string raw = "a\n\x1b[31m" + std::string(1 << 20, 'x'),
                    name = "a\\n\\u001b[31m" + std::string(1 << 20, 'x');
  const auto quoted = [&](const std::string &before, const std::string &after = "") {
    return before + "\"" + name + "\"" + after;
  };
  const std::string words = "'a\\x0a\\x1b[31mxxx", one = R"({"a": 0})";
  for (const Bytes &file :
       {json(quoted("{", ": \"x\"}")), json(quoted("{", ": 7}")), json(one, quoted("[", "]")),
        json(one, quoted("[[\"a\", ", "]]")),
        Bytes().raw(quoted("{", ": 1, ") + quoted("", ": 2}")),
        Bytes().raw(quoted("{\"model\": {\"type\": ", "}}")),
        Bytes().raw(quoted("{\"model\": {\"vocab\": {}, \"unk_token\": ", "}}")),
        json(one, "[]", quoted(", \"pre_tokenizer\": {\"type\": ", "}")),
        json(one, "[]", quoted(R"(, "pre_tokenizer": {"type": "Punctuation", "behavior": )", "}")),
        json(one, "[]",
             quoted(R"(, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": )", "}")),
        json(one, "[]",
             quoted(R"(, "post_processor": {"type": "TemplateProcessing", "single":
                                   [{"SpecialToken": {"id": )",
                    "}}]}")),
        Keys().text("tokenizer.ggml.model", raw).file(),
        byteLevel().text("tokenizer.ggml.pre", raw).file(),
        Keys()
            .text("tokenizer.ggml.model", "gpt2")
            .texts("tokenizer.ggml.tokens", {raw, raw})
            .file(),
        byteLevel().texts("tokenizer.ggml.merges", {raw}).file(),
        byteLevel().texts("tokenizer.ggml.merges", {raw + " a"}).file()})
    expectRefused(file.data.substr(0, 60), file, words, read);
  write("tokenizer_config.json", quoted("{\"bos_token\": ", "}"));
  write("tokenizer.json", R"({"model": {"vocab": {"a": 0}, "merges": []}})");
  Result<Tokenizer> neighbour = Tokenizer::load("tokenizer.json");
  ASSERT_FALSE(neighbour);
  EXPECT_NE(neighbour.error().message.find("'tokenizer_config.json'"), std::string::npos);
  EXPECT_NE(neighbour.error().message.find(words), std::string::npos) << neighbour.error().message;
  EXPECT_LT(neighbour.error().message.size(), 1000u);
}

TEST_F(HostileVocabulary, failingAllocations) { // 11
  failEveryAllocation(sentencePiece().file().vector(), read);
  failEveryAllocation(
      json(R"({"a": 0, "b": 1, "ab": 2})", R"(["a b"])",
           R"(, "added_tokens": [{"id": 3, "content": "<s>"}], "pre_tokenizer": {"type": "Split",
               "behavior": "Isolated", "pattern": {"Regex": "[a-z]+"}})")
          .vector(),
      read);
}

} // namespace
} // namespace lorac::hostile
