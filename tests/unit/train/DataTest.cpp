#include "FakeProgram.h"

#include "runtime/formats/Safetensors.h"
#include "runtime/train/Data.h"
#include "runtime/train/TextDecoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sys/stat.h>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

class DataTest : public testing::Test {
protected:
  void SetUp() override {
    folder = fs::path(testing::TempDir()) /
             ("data." + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::create_directories(folder);
    // A letter is a token: 'a' is 1.
    encoder.encode = [](std::string_view text, std::vector<int32_t> &ids) -> Result<void> {
      for (char c : text)
        if (c >= 'a' && c <= 'z')
          ids.push_back(c - 'a' + 1);
      return {};
    };
    encoder.eos = 0;
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string write(const std::string &name, const std::string &bytes) {
    std::string path = (folder / name).string();
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  DataConfig text(const std::string &path) {
    DataConfig table;
    table.name = "t";
    table.paths = {path};
    table.format = "text";
    table.separator = "\n%\n";
    table.overlong = "split";
    return table;
  }
  std::string errorOf(const std::vector<DataConfig> &tables) {
    Result<Corpus> corpus = loadCorpus(tables, encoder, limits);
    EXPECT_FALSE(corpus);
    return corpus ? "" : corpus.error().message;
  }
  std::vector<int32_t> tokensOf(const Corpus &corpus, size_t piece) {
    const Piece &p = corpus.pieces[piece];
    return {corpus.ids.begin() + int64_t(p.begin), corpus.ids.begin() + int64_t(p.begin + p.count)};
  }

  fs::path folder;
  TextEncoder encoder;
  DataLimits limits{32, 8, 64, 7};
};

TEST_F(DataTest, TextIsCutAtSeparators) {
  std::string path = write("a.txt", "ab\n%\n \n%\ncd\nef\n%\n");
  Result<Corpus> corpus = loadCorpus({text(path)}, encoder, limits);
  ASSERT_TRUE(corpus) << corpus.error().message;
  ASSERT_EQ(corpus->pieces.size(), 2u);
  EXPECT_EQ(tokensOf(*corpus, 0), (std::vector<int32_t>{1, 2, 0}));
  EXPECT_EQ(tokensOf(*corpus, 1), (std::vector<int32_t>{3, 4, 5, 6, 0}));
  EXPECT_EQ(corpus->notes[0], "data 't': 2 samples, 8 tokens, 2 empty left out");
  const Piece &piece = corpus->pieces[0];
  EXPECT_EQ(corpus->target(piece, 0), 2);
  EXPECT_EQ(corpus->target(piece, 1), 0) << "the model learns to end";
  EXPECT_EQ(corpus->target(piece, 2), -100);
}

TEST_F(DataTest, BosStandsBeforeASample) {
  encoder.bos = 31;
  DataConfig table = text(write("a.txt", "ab\n%\ncd"));
  table.separator = "";
  Result<Corpus> corpus = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(corpus);
  ASSERT_EQ(corpus->pieces.size(), 1u) << "without a separator a file is one sample";
  EXPECT_EQ(tokensOf(*corpus, 0), (std::vector<int32_t>{31, 1, 2, 3, 4, 0}));
}

TEST_F(DataTest, Overlong) {
  DataConfig table = text(write("a.txt", "abcdefghijklmnop")); // 17 tokens with eos, max_length 8
  Result<Corpus> split = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(split);
  ASSERT_EQ(split->pieces.size(), 2u) << "the last token alone has nothing to predict";
  EXPECT_EQ(split->pieces[1].count, 8u);
  EXPECT_NE(split->notes[0].find("1 split at 8 tokens"), std::string::npos);
  table.overlong = "truncate";
  Result<Corpus> cut = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->pieces.size(), 1u);
  EXPECT_EQ(cut->ids.size(), 8u);
  table.overlong = "error";
  EXPECT_EQ(errorOf({table}),
            "data file '" + table.paths[0] +
                "', line 1: the sample has 17 tokens, train.max_length is 8; set overlong = "
                "\"split\" or \"truncate\", or raise max_length");
}

TEST_F(DataTest, BadText) {
  std::string bad = write("bad.txt", "abc\xff"
                                     "def"),
              empty = write("empty.txt", "");
  EXPECT_EQ(errorOf({text(bad)}),
            "data file '" + bad +
                "' is not UTF-8 at line 1, column 4: byte 0xff; convert it, or leave it out of "
                "'path'");
  EXPECT_EQ(errorOf({text(empty)}), "data file '" + empty + "' is empty");
  EXPECT_NE(errorOf({text((folder / "none").string())}).find("No such file"), std::string::npos);
  EXPECT_NE(errorOf({text(folder.string())}).find("is a folder: name a file or a pattern"),
            std::string::npos);
  EXPECT_NE(errorOf({text((folder / "*.csv").string())}).find("no file matches"),
            std::string::npos);
  std::string fifo = (folder / "fifo").string();
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_NE(errorOf({text(fifo)}).find("is not a regular file"), std::string::npos)
      << "and does not hang";
  EXPECT_NE(errorOf({text(write("blank.txt", " \n%\n "))})
                .find("holds no sample of at least two tokens: 2 samples of white space were left"),
            std::string::npos);
  encoder.eos = -1;
  EXPECT_NE(errorOf({text(write("single.txt", "a\n%\nb"))})
                .find("of at least two tokens: 2 pieces of one token were left out"),
            std::string::npos);
}

TEST_F(DataTest, PatternsAreSortedAndLinksLeftOut) {
  write("b.txt", "b");
  write("a.txt", "a");
  fs::create_symlink("a.txt", folder / "c.txt");
  Result<std::vector<std::string>> files = expandPattern((folder / "*.txt").string());
  ASSERT_TRUE(files);
  EXPECT_EQ(*files,
            (std::vector<std::string>{(folder / "a.txt").string(), (folder / "b.txt").string()}));
}

TEST_F(DataTest, AnswersAloneAreTrained) {
  DataConfig table =
      text(write("a.jsonl", "{\"prompt\": \"ab\", \"completion\": \"cd\", \"id\": 1}\n"
                            "{\"completion\": \"\", \"prompt\": \"abcdefg\"}\n"));
  table.format = "prompt-completion";
  auto targets = [](const Corpus &corpus, size_t piece) {
    std::vector<int32_t> out;
    for (uint32_t i = 0; i < corpus.pieces[piece].count; ++i)
      out.push_back(corpus.target(corpus.pieces[piece], i));
    return out;
  };
  Result<Corpus> corpus = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(corpus) << corpus.error().message;
  EXPECT_EQ(tokensOf(*corpus, 0), (std::vector<int32_t>{1, 2, 3, 4, 0}));
  EXPECT_EQ(targets(*corpus, 0), (std::vector<int32_t>{-100, 3, 4, 0, -100}));
  EXPECT_EQ(targets(*corpus, 1),
            (std::vector<int32_t>{-100, -100, -100, -100, -100, -100, 0, -100}));
  EXPECT_EQ(corpus->tables[0].labels, 4);
  // Behind a table of texts, whose tokens are all trained.
  DataConfig texts = text(write("a.txt", "xy"));
  texts.name = "texts";
  corpus = loadCorpus({texts, table, texts}, encoder, limits);
  ASSERT_TRUE(corpus) << corpus.error().message;
  EXPECT_EQ(targets(*corpus, 0), (std::vector<int32_t>{25, 0, -100}));
  EXPECT_EQ(targets(*corpus, 1), (std::vector<int32_t>{-100, 3, 4, 0, -100}));
  EXPECT_EQ(targets(*corpus, 3), (std::vector<int32_t>{25, 0, -100}));
  // A piece of a split sample sees no token behind its end; one without a label is left out.
  DataLimits small = limits;
  small.maxLength = 3;
  corpus = loadCorpus({table}, encoder, small);
  ASSERT_TRUE(corpus) << corpus.error().message;
  EXPECT_EQ(corpus->pieces.size(), 3u);
  EXPECT_EQ(targets(*corpus, 0), (std::vector<int32_t>{-100, 3, -100}));
  EXPECT_EQ(targets(*corpus, 1), (std::vector<int32_t>{0, -100}));
  EXPECT_EQ(targets(*corpus, 2), (std::vector<int32_t>{0, -100}));
  EXPECT_EQ(corpus->tables[0].unlabelled, 2);
}

TEST_F(DataTest, Jsonl) {
  DataConfig table =
      text(write("a.jsonl", "{\"text\": \"ab\", \"id\": 1}\n\n{\"text\": \"\\u0063d\"}\n"));
  table.format = "jsonl";
  Result<Corpus> corpus = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(corpus) << corpus.error().message;
  EXPECT_EQ(corpus->samples, 2);
  EXPECT_EQ(tokensOf(*corpus, 1), (std::vector<int32_t>{3, 4, 0}));
  table.paths = {write("bad.jsonl", "{\"text\": \"ab\"}\n{\"text\": \n")};
  EXPECT_EQ(errorOf({table}), "data file '" + table.paths[0] + "', line 2, column 10: not JSON");
  table.paths = {write("nan.jsonl", "{\"text\": \"ab\"}\r\n{\"text\": \"ä\", \"x\": NaN}\r\n")};
  EXPECT_EQ(errorOf({table}),
            "data file '" + table.paths[0] +
                "', line 2, column 20: not JSON; 'NaN' is no value of JSON: write "
                "null or leave the key out");
  table.paths = {write("null.jsonl", "{\"text\": null}\n")};
  EXPECT_EQ(errorOf({table}), "data file '" + table.paths[0] +
                                  "', line 1: needs an object with the string \"text\"; its "
                                  "\"text\" is null");
  table.paths = {write("list.jsonl", "[\n{\"text\": \"ab\"}]\n")};
  EXPECT_NE(errorOf({table}).find("line 1, column 2: not JSON; the file may be one list"),
            std::string::npos);
  table.paths = {write("key.jsonl", "{\"test\": \"ab\"}\n")};
  EXPECT_EQ(errorOf({table}),
            "data file '" + table.paths[0] +
                "', line 1: needs an object with the string \"text\"; it has \"test\"");
  table.paths = {write("deep.jsonl", std::string(100000, '[') + "\n")};
  EXPECT_NE(errorOf({table}).find("not JSON"), std::string::npos);
  // Nested, but closed: no text, and no stack used up on its way out.
  table.paths = {write("closed.jsonl", std::string(100000, '[') + std::string(100000, ']') + "\n")};
  EXPECT_NE(errorOf({table}).find("line 1: needs an object"), std::string::npos);
  table.paths = {write("surrogate.jsonl", "{\"text\": \"\\ud800\"}\n")};
  EXPECT_NE(errorOf({table}).find("line 1, column 17: not JSON"), std::string::npos);
}

// Editors show all of these alike, so they are one text.
TEST_F(DataTest, LineEndsAndByteOrderMarksAreReadAsEditorsDo) {
  using namespace std::string_literals;
  const std::string plain = "ab\n%\ncd\nef\n%\ngh\n";
  auto spelled = [&](const std::string &end) {
    std::string out;
    for (char c : plain)
      out += c == '\n' ? end : std::string(1, c);
    return out;
  };
  auto wide = [&](bool little) {
    std::string out = little ? "\xff\xfe" : "\xfe\xff";
    for (char c : spelled("\r\n"))
      out += little ? c + "\0"s : "\0"s + c;
    return out;
  };
  Result<Corpus> expected = loadCorpus({text(write("lf.txt", plain))}, encoder, limits);
  ASSERT_TRUE(expected);
  EXPECT_EQ(expected->samples, 3);
  for (auto [name, bytes] : {std::pair("crlf", spelled("\r\n")),
                             {"cr", spelled("\r")},
                             {"bom", "\xef\xbb\xbf" + plain},
                             {"little", wide(true)},
                             {"big", wide(false)}}) {
    SCOPED_TRACE(name);
    Result<Corpus> corpus = loadCorpus({text(write(name, bytes))}, encoder, limits);
    ASSERT_TRUE(corpus) << corpus.error().message;
    EXPECT_EQ(corpus->hash, expected->hash);
    // A separator that was copied from the file is the same separator.
    DataConfig copied = text(write(name, bytes));
    copied.separator = "\r\n%\r\n";
    EXPECT_EQ(loadCorpus({copied}, encoder, limits)->hash, expected->hash);
  }
  DataConfig lines =
      text(write("bom.jsonl", "\xef\xbb\xbf{\"text\": \"ab\"}\r\n{\"text\": \"cd\"}"));
  lines.format = "jsonl";
  Result<Corpus> rows = loadCorpus({lines}, encoder, limits);
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->samples, 2);
  EXPECT_NE(errorOf({text(write("u32", "\xff\xfe\0\0a\0\0\0"s))}).find("is UTF-32"),
            std::string::npos);
  EXPECT_NE(errorOf({text(write("u16", "a\0b\0c\0"s))}).find("without a byte order mark"),
            std::string::npos);
}

TEST_F(DataTest, OtherKindsOfFileAreNamed) {
  using namespace std::string_literals;
  EXPECT_NE(errorOf({text(write("a.txt", "PK\x03\x04 and so on"))}).find("a zip archive"),
            std::string::npos);
  EXPECT_NE(errorOf({text(write("lfs", "version https://git-lfs.github.com/spec/v1\noid x\n"))})
                .find("a git-lfs pointer"),
            std::string::npos);
  auto warned = [&](const std::string &bytes, bool stated) {
    DataConfig table = text(write("kind", bytes));
    table.formatStated = stated;
    Result<Corpus> corpus = loadCorpus({table}, encoder, limits);
    EXPECT_TRUE(corpus);
    std::string all;
    for (const std::string &warning : corpus->warnings)
      all += warning + "\n";
    return all;
  };
  EXPECT_NE(warned("{\"text\": \"ab\"}\n%\n{\"text\": \"cd\"}", false).find("looks like JSON"),
            std::string::npos);
  EXPECT_EQ(warned("{\"text\": \"ab\"}\n%\n{\"text\": \"cd\"}", true), "") << "so it was meant";
  EXPECT_NE(warned("<!DOCTYPE html>\n%\nab", false).find("looks like HTML"), std::string::npos);
  EXPECT_NE(warned("abc\ndef", true)
                .find("is 1 sample, since the separator \"\\n%\\n\" does not "
                      "occur in it; it begins with \"abc\\ndef\""),
            std::string::npos);
  EXPECT_EQ(warned("abc\n%\ndef", true), "");
}

TEST_F(DataTest, ATextsOwnBosAndEosStayTheOnlyOnes) {
  encoder.bos = 31;
  encoder.encode = [](std::string_view text, std::vector<int32_t> &ids) -> Result<void> {
    for (char c : text)
      ids.push_back(c == '<' ? 31 : c == '>' ? 0 : c - 'a' + 1);
    return {};
  };
  Result<Corpus> corpus = loadCorpus({text(write("a.txt", "<ab>\n%\nab"))}, encoder, limits);
  ASSERT_TRUE(corpus) << corpus.error().message;
  EXPECT_EQ(tokensOf(*corpus, 0), (std::vector<int32_t>{31, 1, 2, 0}));
  EXPECT_EQ(tokensOf(*corpus, 0), tokensOf(*corpus, 1));
  EXPECT_NE(corpus->notes[0].find("1 with a bos of their own"), std::string::npos);
  EXPECT_NE(corpus->notes[0].find("1 with an eos of their own"), std::string::npos);
}

TEST_F(DataTest, WhatIsCutIsCounted) {
  DataConfig table = text(write("a.txt", "abcdefghijklmnop"));
  Result<Corpus> split = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(split);
  EXPECT_NE(split->notes[0].find("1 piece of one token left out"), std::string::npos);
  table.overlong = "truncate";
  Result<Corpus> cut = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(cut);
  EXPECT_NE(cut->notes[0].find("1 cut to 8 tokens, which leaves out 9 tokens"), std::string::npos);
}

// A part may end anywhere: the text is the same.
TEST(TextDecoder, PartByPart) {
  using namespace std::string_literals;
  for (const std::string &bytes : {"\xef\xbb\xbf"
                                   "a\r\nb\rc\n\r\nd ä €\U0001f600\r"s,
                                   "\xff\xfe"
                                   "a\0\r\0\n\0\x3d\xd8\x00\xde\r\0"s,
                                   ""s, "\n"s, "\xef\xbb\xbf"s}) {
    TextDecoder whole;
    std::string expected;
    ASSERT_TRUE(whole.push(bytes, expected) && whole.finish(expected));
    EXPECT_EQ(expected.find('\r'), std::string::npos);
    for (size_t part = 1; part < 6; ++part) {
      TextDecoder decoder;
      std::string out;
      for (size_t at = 0; at < bytes.size(); at += part)
        ASSERT_TRUE(decoder.push(std::string_view(bytes).substr(at, part), out));
      ASSERT_TRUE(decoder.finish(out));
      EXPECT_EQ(out, expected) << part;
    }
  }
  TextDecoder decoder;
  std::string out;
  ASSERT_TRUE(decoder.push("ab\r\ncä", out));
  Result<void> bad = decoder.push("d\xffx    ", out);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message,
            "is not UTF-8 at line 2, column 4: byte 0xff; convert it, or leave it out of 'path'");
  TextDecoder cut;
  ASSERT_TRUE(cut.push("abcd\xe2\x82", out));
  EXPECT_FALSE(cut.finish(out));
}

TEST_F(DataTest, OnlyWhatWasWrittenIsAPattern) {
  fs::create_directories(folder / "br[a]cket");
  write("br[a]cket/a.txt", "ab");
  write("[b].txt", "b");
  EXPECT_EQ(expandPattern((folder / "[b].txt").string())->front(), (folder / "[b].txt").string())
      << "a file of that name comes first";
  Result<std::vector<std::string>> files =
      expandPattern((folder / "br\\[a\\]cket" / "*.txt").string());
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->front(), (folder / "br[a]cket" / "a.txt").string());
}

TEST_F(DataTest, ATokenizerOfAnotherModelIsRefused) {
  limits.vocab = 3;
  EXPECT_EQ(errorOf({text(write("a.txt", "abc"))}),
            "token 3 at 2 is outside of the model's vocabulary of 3; the tokenizer and the model "
            "do not belong together");
}

TEST_F(DataTest, EvalSplitIsSeededAndWhole) {
  std::string all;
  for (int i = 0; i < 100; ++i)
    all += std::string(size_t(2 + i % 20), 'a') + "\n%\n";
  DataConfig table = text(write("a.txt", all));
  table.evalFraction = 0.1;
  Result<Corpus> a = loadCorpus({table}, encoder, limits), b = loadCorpus({table}, encoder, limits);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->eval, b->eval);
  EXPECT_EQ(a->hash, b->hash);
  std::set<uint32_t> evalSamples, trainSamples;
  for (uint32_t index : a->eval)
    evalSamples.insert(a->pieces[index].sample);
  for (uint32_t index : a->train)
    trainSamples.insert(a->pieces[index].sample);
  EXPECT_EQ(evalSamples.size(), 10u);
  EXPECT_EQ(trainSamples.size(), 90u);
  for (uint32_t sample : evalSamples)
    EXPECT_FALSE(trainSamples.count(sample)) << "pieces of a sample stay together";
  limits.seed = 8;
  Result<Corpus> c = loadCorpus({table}, encoder, limits);
  EXPECT_NE(a->eval, c->eval);
  EXPECT_NE(a->hash, c->hash);
}

TEST_F(DataTest, Tokens) {
  std::string path = (folder / "t.safetensors").string();
  std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, labels = ids;
  labels[1] = -100;
  auto save = [&](std::vector<int64_t> shape) {
    std::vector<formats::TensorToWrite> tensors = {
        {"input_ids", formats::DType::I32, shape, ids.data()},
        {"labels", formats::DType::I32, shape, labels.data()}};
    ASSERT_TRUE(formats::writeSafetensors(path, tensors));
  };
  save({2, 2, 3});
  DataConfig table = text(path);
  table.format = "tokens";
  table.paths = {(folder / "none").string()};
  Result<Corpus> missing = loadCorpus({table}, {}, limits);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Exit::Refused) << "as with text";
  table.paths = {path};
  Result<Corpus> corpus = loadCorpus({table}, {}, limits);
  ASSERT_TRUE(corpus) << corpus.error().message;
  EXPECT_EQ(corpus->batchRows, 2);
  ASSERT_EQ(corpus->pieces.size(), 4u);
  EXPECT_EQ(corpus->target(corpus->pieces[0], 0), -100) << "labels[1] is masked";
  EXPECT_EQ(corpus->target(corpus->pieces[0], 1), 3);
  EXPECT_EQ(corpus->target(corpus->pieces[0], 2), -100);
  EXPECT_EQ(corpus->target(corpus->pieces[3], 0), 11);

  std::vector<formats::TensorToWrite> alone = {
      {"input_ids", formats::DType::I32, {2, 2, 3}, ids.data()}};
  ASSERT_TRUE(formats::writeSafetensors(path, alone));
  Result<Corpus> unmasked = loadCorpus({table}, {}, limits);
  ASSERT_TRUE(unmasked);
  EXPECT_EQ(unmasked->target(unmasked->pieces[0], 0), 2);

  labels.assign(labels.size(), -100);
  labels[3] = 4; // the first of a row is never predicted
  save({2, 2, 3});
  EXPECT_EQ(errorOf({table}), "data 't' has no label: all 12 labels of its 4 samples are -100 (the "
                              "first of a row is never predicted); there is nothing to learn");
  labels = ids;
  ids[7] = 32;
  save({2, 2, 3});
  EXPECT_EQ(errorOf({table}),
            "data file '" + path +
                "': input_ids[1, 0, 1] is 32, outside of the model's vocabulary of 32");
  ids[7] = 8;
  labels[11] = -1;
  save({2, 2, 3});
  EXPECT_NE(errorOf({table}).find("labels[1, 1, 2] is -1"), std::string::npos);
  labels[11] = 12;
  save({1, 1, 12});
  EXPECT_NE(errorOf({table}).find("rows of 12 tokens, train.max_length is 8"), std::string::npos);
  save({12, 1});
  EXPECT_NE(errorOf({table}).find("has 2 dimensions, expected 3"), std::string::npos);
  save({2, 2, 3});
  limits.maxTokens = 5;
  EXPECT_NE(errorOf({table}).find("the program holds 5; set train.batch_size = 2"),
            std::string::npos);
}

} // namespace
} // namespace lorac::train
