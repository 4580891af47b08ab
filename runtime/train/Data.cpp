#include "runtime/train/Data.h"

#include "runtime/train/DataKind.h"
#include "runtime/train/Hash.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Random.h"
#include "runtime/train/SampleReader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <glob.h>
#include <set>
#include <sys/stat.h>

namespace lorac::train {

namespace {

Error refused(const std::string &message) { return Error{message, Exit::Refused}; }

std::string plural(int64_t count, const char *what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// One table's text while it becomes pieces.
class TextLoader {
public:
  TextLoader(const DataConfig &table, const TextEncoder &encoder, const DataLimits &limits,
             Corpus &corpus, TableFacts &facts)
      : table(table), encoder(encoder), limits(limits), corpus(corpus), facts(facts),
        separator(decodedSeparator(table.separator)) {}

  Result<void> loadFile(const std::string &path) {
    const bool lines = table.format == "jsonl";
    Result<SampleReader> reader =
        SampleReader::open(path, lines ? "\n" : table.separator, lines ? nullptr : encoder.cut);
    if (!reader)
      return reader.error();
    if (facts.files == 1 && !lines)
      lookAt(path, reader->firstBytes());
    for (;;) {
      Result<std::optional<SamplePart>> part = reader->next();
      if (!part)
        return part.error();
      if (!*part)
        break;
      const std::string where = "line " + std::to_string((*part)->line);
      Result<void> added =
          lines ? addLine((*part)->text, path, where) : addPart(**part, path, where);
      if (!added)
        return added;
    }
    facts.carriageReturns |= reader->decoded().hadCarriageReturns();
    facts.utf16 |= reader->decoded().wasUtf16();
    // What an encoder holds of a text beside it: normalized, cut into pieces, merged, as ids.
    constexpr uint64_t perByte = 64;
    corpus.textBytes =
        std::max(corpus.textBytes, reader->mostHeld() + perByte * reader->longestPart());
    return {};
  }

  /// After the last file.
  void finish() {
    if (firstFile.empty() || separator.empty() || facts.files > 1 || facts.samples != 1 ||
        facts.blank > 0)
      return;
    corpus.warnings.push_back("data '" + table.name + "': the whole of '" + firstFile +
                              "' is 1 sample, since the separator " + quotedBytes(separator) +
                              " does not occur in it; it begins with " + facts.start +
                              "; set data.separator, or separator = \"\" if that is meant");
  }

private:
  static std::string quotedBytes(const std::string &text) {
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  /// Whether the first file may be of another kind than text.
  void lookAt(const std::string &path, const std::string &firstBytes) {
    firstFile = path;
    TextDecoder decoder;
    std::string head;
    if (table.formatStated || !decoder.push(firstBytes, head))
      return;
    if (std::optional<std::string> kind = otherTextKind(head))
      corpus.warnings.push_back("data '" + table.name + "': '" + path + "' looks like " + *kind +
                                "; it begins with " + quotedStart(head) +
                                "; set format = \"text\" if that is meant");
  }

  Result<void> addLine(std::string_view line, const std::string &path, const std::string &where) {
    if (line.find_first_not_of(" \t") == std::string_view::npos)
      return {};
    auto refusedHere = [&](const std::string &what) {
      return refused("data file '" + path + "', " + where + ": " + what);
    };
    size_t byte = 0;
    bool isBeyond = false;
    Json value = parseLine(line, byte, isBeyond);
    if (value.is_discarded())
      return refused("data file '" + path + "', " + where + ", column " +
                     std::to_string(charactersOf(line.substr(0, byte)) + 1) + ": " +
                     (isBeyond ? "a number that no float64 holds" : "not JSON") +
                     unknownWord(line, byte) +
                     (line[line.find_first_not_of(" \t")] == '['
                          ? "; the file may be one list, where format = \"jsonl\" takes one "
                            "object a line"
                          : ""));
    if (!value.is_object())
      return refusedHere("needs an object with the string \"text\", got " +
                         std::string(value.type_name()) +
                         (value.is_array() ? "; format = \"jsonl\" takes one object a line" : ""));
    if (!value.contains("text"))
      return refusedHere("needs an object with the string \"text\"; it has " + keysOf(value));
    if (!value["text"].is_string())
      return refusedHere("needs an object with the string \"text\"; its \"text\" is " +
                         std::string(value["text"].type_name()));
    SamplePart whole;
    whole.text = value["text"].get_ref<const std::string &>();
    return addPart(whole, path, where);
  }

  static size_t charactersOf(std::string_view text) {
    return size_t(std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
  }

  /// `byte`: where what is wrong begins.
  static Json parseLine(std::string_view line, size_t &byte, bool &isBeyond) {
    try {
      return Json::parse(line.begin(), line.end());
    } catch (const Json::parse_error &error) {
      byte = std::min(error.byte ? error.byte - 1 : 0, line.size());
      // The parser tells the last byte that it has read of a word.
      while (byte > 0 && byte < line.size() &&
             std::isalpha(static_cast<unsigned char>(line[byte - 1])) &&
             std::isalpha(static_cast<unsigned char>(line[byte])))
        --byte;
    } catch (const Json::exception &error) { // a number beyond every double, which it quotes
      const std::string_view what = error.what();
      const size_t open = what.find('\''), close = what.rfind('\'');
      const size_t at = open < close ? line.find(what.substr(open + 1, close - open - 1)) : 0;
      byte = at == std::string_view::npos ? 0 : at;
      isBeyond = true;
    }
    return Json(Json::value_t::discarded);
  }

  /// A word like NaN, which other readers of JSON take.
  static std::string unknownWord(std::string_view line, size_t byte) {
    for (const std::string word :
         {"NaN", "Infinity", "-Infinity", "None", "True", "False", "undefined"})
      if (line.substr(byte).starts_with(word) ||
          (byte > 0 && line.substr(byte - 1).starts_with(word)))
        return "; '" + word + "' is no value of JSON: write null or leave the key out";
    return "";
  }

  static std::string keysOf(const Json &object) {
    std::string keys;
    size_t count = 0;
    for (auto it = object.begin(); it != object.end() && count < 8; ++it, ++count)
      keys += (count ? ", " : "") + quotedStart(it.key(), 30);
    return keys.empty() ? "no keys" : keys + (object.size() > 8 ? ", …" : "");
  }

  Result<void> addPart(const SamplePart &part, const std::string &path, const std::string &where) {
    if (part.first && part.last &&
        part.text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos) {
      ++facts.blank;
      return {};
    }
    encoded.clear();
    if (part.first) {
      begin = corpus.ids.size();
      if (encoder.bos >= 0)
        encoded.push_back(encoder.bos);
      if (facts.samples == 0)
        facts.start = quotedStart(part.text);
    }
    const auto &encode = part.first ? encoder.encode : encoder.encodeMore;
    if (Result<void> done = encode(part.text, encoded); !done)
      return refused("data file '" + path + "', " + where + ": " + done.error().message);
    // The text may bring its own.
    if (part.first && encoder.bos >= 0 && encoded.size() > 1 && encoded[1] == encoder.bos) {
      encoded.erase(encoded.begin());
      ++facts.ownBos;
    }
    if (part.last && encoder.eos >= 0)
      endWithEos();
    if (Result<void> known = checkIds(); !known)
      return known;
    corpus.ids.append(encoded);
    return part.last ? endSample(path, where) : Result<void>();
  }

  /// One eos ends the sample, be it the text's own.
  void endWithEos() {
    const size_t before = corpus.ids.size() - begin, count = before + encoded.size();
    const int32_t last = !encoded.empty() ? encoded.back()
                         : before > 0     ? corpus.ids[corpus.ids.size() - 1]
                                          : -1;
    if (last == encoder.eos && (encoder.bos != encoder.eos || count > 1))
      ++facts.ownEos;
    else
      encoded.push_back(encoder.eos);
  }

  Result<void> checkIds() const {
    for (size_t i = 0; i < encoded.size(); ++i)
      if (encoded[i] < 0 || encoded[i] >= limits.vocab)
        return refused("token " + std::to_string(encoded[i]) + " at " +
                       std::to_string(corpus.ids.size() + i) +
                       " is outside of the model's vocabulary of " + std::to_string(limits.vocab) +
                       "; the tokenizer and the model do not belong together");
    return {};
  }

  Result<void> endSample(const std::string &path, const std::string &where) {
    uint64_t count = corpus.ids.size() - begin, most = uint64_t(limits.maxLength);
    if (facts.samples == 0) {
      facts.startTokens = int64_t(count);
      facts.startHasBos = encoder.bos >= 0 && corpus.ids[begin] == encoder.bos;
      facts.startHasEos = encoder.eos >= 0 && corpus.ids[begin + count - 1] == encoder.eos;
    }
    if (count > most) {
      ++facts.overlong;
      if (table.overlong == "error")
        return refused("data file '" + path + "', " + where + ": the sample has " +
                       std::to_string(count) + " tokens, train.max_length is " +
                       std::to_string(most) +
                       "; set overlong = \"split\" or \"truncate\", or raise max_length");
      if (table.overlong == "truncate") {
        facts.cutTokens += int64_t(count - most);
        corpus.ids.shrink(begin + most);
        count = most;
      }
    }
    for (uint64_t done = 0; done < count; done += most) {
      uint32_t length = uint32_t(std::min(most, count - done));
      if (length > 1)
        corpus.pieces.push_back({begin + done, length, uint32_t(corpus.samples)});
      else
        ++facts.single;
    }
    ++corpus.samples;
    ++facts.samples;
    return {};
  }

  const DataConfig &table;
  const TextEncoder &encoder;
  const DataLimits &limits;
  Corpus &corpus;
  TableFacts &facts;
  std::string separator, firstFile;
  std::vector<int32_t> encoded;
  uint64_t begin = 0; ///< of the sample that is read
};

/// The line for people.
std::string noteOf(const TableFacts &facts, const DataConfig &table, const DataLimits &limits) {
  std::string note = "data '" + facts.name + "': " + std::to_string(facts.samples) + " samples, " +
                     std::to_string(facts.tokens) + " tokens";
  if (facts.heldOut)
    note += ", " + std::to_string(facts.heldOut) + " samples held out";
  if (facts.overlong && table.overlong == "truncate")
    note += ", " + std::to_string(facts.overlong) + " cut to " + std::to_string(limits.maxLength) +
            " tokens, which leaves out " + plural(facts.cutTokens, "token");
  else if (facts.overlong)
    note += ", " + std::to_string(facts.overlong) + " split at " +
            std::to_string(limits.maxLength) + " tokens";
  if (facts.blank)
    note += ", " + std::to_string(facts.blank) + " empty left out";
  if (facts.single)
    note += ", " + plural(facts.single, "piece") + " of one token left out";
  if (facts.ownBos)
    note +=
        ", " + std::to_string(facts.ownBos) + " with a bos of their own, which stays the only one";
  if (facts.ownEos)
    note +=
        ", " + std::to_string(facts.ownEos) + " with an eos of their own, which stays the only one";
  if (facts.carriageReturns)
    note += ", line ends read as LF";
  if (facts.utf16)
    note += ", UTF-16 read as UTF-8";
  return note;
}

/// Puts the table's pieces, from `firstPiece` on, into train and eval.
int64_t splitEval(const DataConfig &table, const DataLimits &limits, int64_t firstSample,
                  size_t firstPiece, Corpus &corpus) {
  int64_t count = corpus.samples - firstSample;
  int64_t held = int64_t(std::llround(table.evalFraction * double(count)));
  if (corpus.batchRows > 0) // batches stand as they are
    held = 0;
  else if (table.evalFraction > 0 && count > 1)
    held = std::clamp<int64_t>(held, 1, count - 1);
  std::vector<bool> isEval(size_t(count), false);
  if (held > 0) {
    std::vector<uint32_t> order = permutation(uint32_t(count), limits.seed, "eval " + table.name);
    for (int64_t i = 0; i < held; ++i)
      isEval[order[size_t(i)]] = true;
  }
  for (size_t i = firstPiece; i < corpus.pieces.size(); ++i)
    (isEval[corpus.pieces[i].sample - size_t(firstSample)] ? corpus.eval : corpus.train)
        .push_back(uint32_t(i));
  return held;
}

/// As 32-bit numbers, whatever they take in memory.
void hashTokens(Hasher &hasher, const TokenList &list) {
  std::array<int32_t, 4096> buffer;
  for (size_t at = 0; at < list.size(); at += buffer.size()) {
    const size_t items = std::min(buffer.size(), list.size() - at);
    list.copy(at, items, buffer.data());
    hasher.add(buffer.data(), items * sizeof(int32_t));
  }
}

std::string hashCorpus(const Corpus &corpus) {
  Hasher hasher;
  auto feedCount = [&](uint64_t count) { hasher.add(&count, sizeof count); };
  for (const TokenList *list : {&corpus.ids, &corpus.targets}) {
    feedCount(list->size());
    hashTokens(hasher, *list);
  }
  feedCount(3 * corpus.pieces.size());
  for (const Piece &piece : corpus.pieces) {
    const uint64_t cut[] = {piece.begin, piece.count, piece.sample};
    hasher.add(cut, sizeof cut);
  }
  feedCount(corpus.eval.size());
  hasher.add(corpus.eval.data(), corpus.eval.size() * sizeof(corpus.eval[0]));
  return hasher.hex();
}

} // namespace

/// Whether the text asks for a pattern, that is has `*`, `?` or `[` without `\` before it.
static bool isPattern(const std::string &text) {
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '*' || text[i] == '?' || text[i] == '[')
      return true;
  return false;
}

Result<std::vector<std::string>> expandPattern(const std::string &pattern) {
  struct stat info;
  if (stat(pattern.c_str(), &info) == 0 || !isPattern(pattern))
    return std::vector<std::string>{pattern};
  glob_t found;
  int status = glob(pattern.c_str(), GLOB_MARK, nullptr, &found);
  std::vector<std::string> files;
  std::set<std::pair<dev_t, ino_t>> seen;
  if (status == 0)
    for (size_t i = 0; i < found.gl_pathc; ++i) {
      std::string path = found.gl_pathv[i];
      if (path.back() != '/' && stat(path.c_str(), &info) == 0 &&
          seen.emplace(info.st_dev, info.st_ino).second)
        files.push_back(path);
    }
  globfree(&found);
  if (files.empty())
    return refused("no file matches the pattern '" + pattern + "'");
  return files;
}

namespace {

/// Labels of the table's pieces, and of its first sample.
void countLabels(const Corpus &corpus, size_t firstPiece, int64_t firstSample, TableFacts &facts) {
  for (size_t i = firstPiece; i < corpus.pieces.size(); ++i) {
    const Piece &piece = corpus.pieces[i];
    int64_t labels = 0;
    for (uint32_t at = 0; at < piece.count; ++at)
      labels += corpus.target(piece, at) >= 0;
    facts.labels += labels;
    if (int64_t(piece.sample) == firstSample)
      facts.startLabels += labels;
  }
}

Error nothingToTrainOn(const TableFacts &facts, bool isText) {
  std::string left;
  if (facts.blank)
    left += plural(facts.blank, "sample") + " of white space";
  if (facts.single)
    left += (left.empty() ? "" : " and ") + plural(facts.single, "piece") + " of one token";
  return refused(
      "data '" + facts.name + "' holds no sample of at least two tokens" +
      (left.empty() ? "" : ": " + left + " were left out") +
      (isText && facts.format == "jsonl" ? "; each line needs an object with \"text\"" : ""));
}

/// Files that were read, by what they are and not by name.
using FilesSeen = std::set<std::pair<dev_t, ino_t>>;

Result<void> loadTable(const DataConfig &table, const TextEncoder &encoder,
                       const DataLimits &limits, FilesSeen &seen, Corpus &corpus) {
  const int64_t firstSample = corpus.samples;
  const size_t firstPiece = corpus.pieces.size(), firstToken = corpus.ids.size();
  const bool isText = table.format != "tokens";
  TableFacts facts;
  facts.name = table.name;
  facts.format = table.format;
  if (isText && !encoder.encode)
    return refused("data '" + table.name +
                   "' is text, but the model has no tokenizer; "
                   "use format = \"tokens\" or a model with a tokenizer");
  TextLoader text(table, encoder, limits, corpus, facts);
  for (const std::string &pattern : table.paths) {
    Result<std::vector<std::string>> files = expandPattern(pattern);
    if (!files)
      return files.error();
    for (const std::string &file : *files) {
      ++facts.files;
      if (struct stat info;
          stat(file.c_str(), &info) == 0 && !seen.emplace(info.st_dev, info.st_ino).second)
        corpus.warnings.push_back(
            "data '" + table.name + "': '" + file +
            "' is named twice: each of its samples is there twice" +
            (table.evalFraction > 0 ? ", and one that is held out may be trained on too" : ""));
      if (!isText && facts.files > 1)
        return refused("data '" + table.name +
                       "' has several files of format = \"tokens\"; give one");
      Result<void> loaded = isText ? text.loadFile(file) : loadTokens(file, limits, corpus);
      if (!loaded)
        return loaded;
    }
  }
  facts.samples = corpus.samples - firstSample;
  facts.tokens = int64_t(corpus.ids.size() - firstToken);
  if (corpus.pieces.size() == firstPiece)
    return nothingToTrainOn(facts, isText);
  countLabels(corpus, firstPiece, firstSample, facts);
  if (facts.labels == 0)
    return refused("data '" + table.name + "' has no label: all " + std::to_string(facts.tokens) +
                   " labels of its " + plural(facts.samples, "sample") +
                   " are -100 (the first of a row is never predicted); there is nothing to learn");
  if (isText) {
    text.finish();
  } else {
    const Piece &first = corpus.pieces[firstPiece];
    facts.startTokens = first.count;
    for (uint32_t i = 0; i < std::min<uint32_t>(first.count, 12); ++i)
      facts.start += (i ? " " : "") + std::to_string(corpus.ids[first.begin + i]);
    facts.start += first.count > 12 ? " …" : "";
  }
  facts.heldOut = splitEval(table, limits, firstSample, firstPiece, corpus);
  if (table.evalFraction > 0 && facts.heldOut == 0)
    corpus.warnings.push_back("data '" + table.name + "': nothing is held out, since it has only " +
                              plural(facts.samples, "sample"));
  corpus.notes.push_back(noteOf(facts, table, limits));
  corpus.tables.push_back(std::move(facts));
  return {};
}

} // namespace

Result<Corpus> loadCorpus(const std::vector<DataConfig> &tables, const TextEncoder &encoder,
                          const DataLimits &limits) {
  Corpus corpus;
  corpus.ids = TokenList(limits.vocab), corpus.targets = TokenList(limits.vocab);
  corpus.tokenizerBytes = encoder.bytes;
  FilesSeen seen;
  for (const DataConfig &table : tables) {
    if (table.format == "tokens" && tables.size() > 1)
      return refused(
          "data '" + table.name +
          "' has format = \"tokens\", whose batches stand alone; make it the only [[data]]");
    if (Result<void> loaded = loadTable(table, encoder, limits, seen, corpus); !loaded)
      return loaded.error();
  }
  if (corpus.train.empty())
    return refused("nothing is left to train on: all samples are held out; lower eval_fraction");
  corpus.pieces.shrink_to_fit();
  corpus.train.shrink_to_fit();
  corpus.eval.shrink_to_fit();
  corpus.hash = hashCorpus(corpus);
  return corpus;
}

} // namespace lorac::train
