#include "runtime/train/Data.h"

#include "runtime/train/DataKind.h"
#include "runtime/train/Hash.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Random.h"
#include "runtime/train/TextDecoder.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <glob.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

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
    Result<std::string> text = readText(path, facts);
    if (!text)
      return text.error();
    const bool isFirst = facts.files == 1;
    if (table.format == "jsonl")
      return loadLines(path, *text);
    if (!table.formatStated && isFirst)
      if (std::optional<std::string> kind = otherTextKind(*text))
        corpus.warnings.push_back("data '" + table.name + "': '" + path + "' looks like " + *kind +
                                  "; it begins with " + quotedStart(*text) +
                                  "; set format = \"text\" if that is meant");
    if (Result<void> loaded = loadText(path, *text); !loaded)
      return loaded;
    if (!separator.empty() && isFirst)
      firstFile = path;
    return {};
  }

  /// After the last file.
  void finish() {
    if (firstFile.empty() || facts.files > 1 || facts.samples != 1 || facts.blank > 0)
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

  Result<void> loadText(const std::string &path, const std::string &text) {
    size_t line = 1, seen = 0;
    for (auto [offset, sample] : splitText(text, separator)) {
      line +=
          size_t(std::count(text.begin() + int64_t(seen), text.begin() + int64_t(offset), '\n'));
      seen = offset;
      if (Result<void> added = add(sample, path, "line " + std::to_string(line)); !added)
        return added;
    }
    return {};
  }

  Result<void> loadLines(const std::string &path, const std::string &text) {
    size_t number = 0;
    for (auto [offset, line] : splitText(text, "\n")) {
      std::string where = "line " + std::to_string(++number);
      if (line.find_first_not_of(" \t") == std::string_view::npos)
        continue;
      auto refusedHere = [&, at = where](const std::string &what) {
        return refused("data file '" + path + "', " + at + ": " + what);
      };
      size_t byte = 0;
      Json value = parseLine(line, byte);
      if (value.is_discarded())
        return refused("data file '" + path + "', " + where + ", column " +
                       std::to_string(charactersOf(line.substr(0, byte)) + 1) + ": not JSON" +
                       unknownWord(line, byte) +
                       (line[line.find_first_not_of(" \t")] == '['
                            ? "; the file may be one list, where format = \"jsonl\" takes one "
                              "object a line"
                            : ""));
      if (!value.is_object())
        return refusedHere(
            "needs an object with the string \"text\", got " + std::string(value.type_name()) +
            (value.is_array() ? "; format = \"jsonl\" takes one object a line" : ""));
      if (!value.contains("text"))
        return refusedHere("needs an object with the string \"text\"; it has " + keysOf(value));
      if (!value["text"].is_string())
        return refusedHere("needs an object with the string \"text\"; its \"text\" is " +
                           std::string(value["text"].type_name()));
      if (Result<void> added = add(value["text"].get_ref<const std::string &>(), path, where);
          !added)
        return added;
    }
    return {};
  }

  static size_t charactersOf(std::string_view text) {
    return size_t(std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
  }

  /// `byte`: where what is wrong begins.
  static Json parseLine(std::string_view line, size_t &byte) {
    try {
      return Json::parse(line.begin(), line.end());
    } catch (const Json::parse_error &error) {
      byte = std::min(error.byte ? error.byte - 1 : 0, line.size());
      // The parser tells the last byte that it has read of a word.
      while (byte > 0 && byte < line.size() &&
             std::isalpha(static_cast<unsigned char>(line[byte - 1])) &&
             std::isalpha(static_cast<unsigned char>(line[byte])))
        --byte;
    } catch (const Json::exception &) { // a number beyond every double
      byte = 0;
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

  Result<void> add(std::string_view text, const std::string &path, const std::string &where) {
    if (text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos) {
      ++facts.blank;
      return {};
    }
    uint64_t begin = corpus.ids.size();
    if (encoder.bos >= 0)
      corpus.ids.push_back(encoder.bos);
    if (Result<void> encoded = encoder.encode(text, corpus.ids); !encoded)
      return refused("data file '" + path + "', " + where + ": " + encoded.error().message);
    // The text may bring its own.
    if (encoder.bos >= 0 && corpus.ids.size() > begin + 1 && corpus.ids[begin + 1] == encoder.bos) {
      corpus.ids.erase(corpus.ids.begin() + int64_t(begin));
      ++facts.ownBos;
    }
    if (encoder.eos >= 0) {
      if (corpus.ids.size() > begin && corpus.ids.back() == encoder.eos &&
          (encoder.bos != encoder.eos || corpus.ids.size() > begin + 1))
        ++facts.ownEos;
      else
        corpus.ids.push_back(encoder.eos);
    }
    uint64_t count = corpus.ids.size() - begin, most = uint64_t(limits.maxLength);
    if (facts.samples == 0) {
      facts.start = quotedStart(text);
      facts.startTokens = int64_t(count);
      facts.startHasBos = encoder.bos >= 0 && corpus.ids[begin] == encoder.bos;
      facts.startHasEos = encoder.eos >= 0 && corpus.ids.back() == encoder.eos;
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
        corpus.ids.resize(begin + most);
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

std::string hashCorpus(const Corpus &corpus) {
  Hasher hasher;
  auto feed = [&](const auto &items) {
    uint64_t count = items.size();
    hasher.add(&count, sizeof count);
    hasher.add(items.data(), items.size() * sizeof(items[0]));
  };
  feed(corpus.ids);
  feed(corpus.targets);
  std::vector<uint64_t> cuts;
  for (const Piece &piece : corpus.pieces)
    cuts.insert(cuts.end(), {piece.begin, piece.count, piece.sample});
  feed(cuts);
  feed(corpus.eval);
  return hasher.hex();
}

} // namespace

Result<std::string> readFile(const std::string &path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    Error error = refused("cannot open '" + path + "': " + std::strerror(errno));
    if (fd >= 0)
      close(fd);
    return error;
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    if (S_ISDIR(info.st_mode))
      return refused("'" + path + "' is a folder: name a file or a pattern, as in \"" + path +
                     "/*.txt\"");
    return refused("'" + path + "' is not a regular file");
  }
  std::string bytes;
  bytes.resize(size_t(info.st_size));
  size_t done = 0;
  for (ssize_t got;
       done < bytes.size() && (got = read(fd, bytes.data() + done, bytes.size() - done)) > 0;)
    done += size_t(got);
  close(fd);
  if (done != bytes.size())
    return refused("cannot read '" + path + "': it ends at byte " + std::to_string(done) + " of " +
                   std::to_string(bytes.size()));
  return bytes;
}

std::vector<std::pair<size_t, std::string_view>> splitText(std::string_view text,
                                                           std::string_view separator) {
  std::vector<std::pair<size_t, std::string_view>> parts;
  if (separator.empty())
    return {{0, text}};
  // A separator that is a line also stands at the file's begin and end and behind another one,
  // where a line's end beside it is that of the file or of the other.
  const std::string_view word =
      separator.size() > 2 && separator.front() == '\n' && separator.back() == '\n'
          ? separator.substr(1, separator.size() - 2)
          : std::string_view();
  const bool isLine = !word.empty() && word.find_first_not_of('\n') == 0;
  size_t begin = 0;
  while (true) {
    if (isLine && text.substr(begin).starts_with(separator.substr(1))) {
      parts.emplace_back(begin, text.substr(begin, 0));
      begin += separator.size() - 1;
      continue;
    }
    const size_t at = text.find(separator, begin);
    if (at == std::string_view::npos)
      break;
    parts.emplace_back(begin, text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  std::string_view last = text.substr(begin);
  if (isLine && last == word)
    last = {};
  else if (isLine && last.ends_with(separator.substr(0, separator.size() - 1)))
    last.remove_suffix(separator.size() - 1);
  parts.emplace_back(begin, last);
  return parts;
}

Result<std::string> readText(const std::string &path, TableFacts &facts) {
  Result<std::string> bytes = readFile(path);
  if (!bytes)
    return bytes.error();
  if (bytes->empty())
    return refused("data file '" + path + "' is empty");
  if (std::optional<std::string> kind = binaryKind(*bytes))
    return refused("data file '" + path + "' is " + *kind);
  TextDecoder decoder;
  std::string text;
  text.reserve(bytes->size());
  Result<void> decoded = decoder.push(*bytes, text);
  if (decoded)
    decoded = decoder.finish(text);
  if (!decoded)
    return refused("data file '" + path + "' " + decoded.error().message);
  facts.carriageReturns |= decoder.hadCarriageReturns();
  facts.utf16 |= decoder.wasUtf16();
  return text;
}

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

Result<void> loadTable(const DataConfig &table, const TextEncoder &encoder,
                       const DataLimits &limits, Corpus &corpus) {
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
  for (const DataConfig &table : tables) {
    if (table.format == "tokens" && tables.size() > 1)
      return refused(
          "data '" + table.name +
          "' has format = \"tokens\", whose batches stand alone; make it the only [[data]]");
    if (Result<void> loaded = loadTable(table, encoder, limits, corpus); !loaded)
      return loaded.error();
  }
  if (corpus.train.empty())
    return refused("nothing is left to train on: all samples are held out; lower eval_fraction");
  for (size_t i = 0; i < corpus.ids.size(); ++i)
    if (corpus.ids[i] < 0 || corpus.ids[i] >= limits.vocab)
      return refused("token " + std::to_string(corpus.ids[i]) + " at " + std::to_string(i) +
                     " is outside of the model's vocabulary of " + std::to_string(limits.vocab) +
                     "; the tokenizer and the model do not belong together");
  corpus.hash = hashCorpus(corpus);
  return corpus;
}

} // namespace lorac::train
