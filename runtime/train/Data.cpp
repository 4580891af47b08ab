#include "runtime/train/Data.h"

#include "runtime/tokenizer/Utf8.h"
#include "runtime/train/Hash.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Random.h"

#include <algorithm>
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

/// One table's text while it becomes pieces.
class TextLoader {
public:
  TextLoader(const DataConfig &table, const TextEncoder &encoder, const DataLimits &limits,
             Corpus &corpus)
      : table(table), encoder(encoder), limits(limits), corpus(corpus) {}

  Result<void> loadFile(const std::string &path) {
    Result<std::string> text = readFile(path);
    if (!text)
      return text.error();
    if (text->empty())
      return refused("data file '" + path + "' is empty");
    if (std::optional<size_t> bad = tok::firstInvalidUtf8(*text))
      return refused("data file '" + path + "' is not UTF-8 at byte " + std::to_string(*bad) +
                     "; convert it, or leave it out of 'path'");
    return table.format == "jsonl" ? loadLines(path, *text) : loadText(path, *text);
  }

  int64_t samples = 0, empty = 0, overlong = 0;

private:
  Result<void> loadText(const std::string &path, const std::string &text) {
    for (auto [offset, sample] : splitText(text, table.separator))
      if (Result<void> added = add(sample, path, "byte " + std::to_string(offset)); !added)
        return added;
    return {};
  }

  Result<void> loadLines(const std::string &path, const std::string &text) {
    size_t number = 0;
    for (auto [offset, line] : splitText(text, "\n")) {
      std::string where = "line " + std::to_string(++number);
      if (line.find_first_not_of(" \t\r") == std::string_view::npos)
        continue;
      Json value = Json::parse(line.begin(), line.end(), nullptr, false);
      if (value.is_discarded())
        return refused("data file '" + path + "', " + where + ": not JSON");
      if (!value.is_object() || !value.contains("text") || !value["text"].is_string())
        return refused("data file '" + path + "', " + where +
                       ": needs an object with the string \"text\"");
      if (Result<void> added = add(value["text"].get_ref<const std::string &>(), path, where);
          !added)
        return added;
    }
    return {};
  }

  Result<void> add(std::string_view text, const std::string &path, const std::string &where) {
    if (text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos) {
      ++empty;
      return {};
    }
    uint64_t begin = corpus.ids.size();
    if (encoder.bos >= 0)
      corpus.ids.push_back(encoder.bos);
    if (Result<void> encoded = encoder.encode(text, corpus.ids); !encoded)
      return refused("data file '" + path + "', " + where + ": " + encoded.error().message);
    if (encoder.eos >= 0)
      corpus.ids.push_back(encoder.eos);
    uint64_t count = corpus.ids.size() - begin, most = uint64_t(limits.maxLength);
    if (count > most) {
      ++overlong;
      if (table.overlong == "error")
        return refused("data file '" + path + "', " + where + ": the sample has " +
                       std::to_string(count) + " tokens, train.max_length is " +
                       std::to_string(most) +
                       "; set overlong = \"split\" or \"truncate\", or raise max_length");
      if (table.overlong == "truncate") {
        corpus.ids.resize(begin + most);
        count = most;
      }
    }
    for (uint64_t done = 0; done < count; done += most) {
      uint32_t length = uint32_t(std::min(most, count - done));
      if (length > 1)
        corpus.pieces.push_back({begin + done, length, uint32_t(corpus.samples)});
    }
    ++corpus.samples;
    ++samples;
    return {};
  }

  const DataConfig &table;
  const TextEncoder &encoder;
  const DataLimits &limits;
  Corpus &corpus;
};

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
  size_t begin = 0;
  if (!separator.empty())
    for (size_t at; (at = text.find(separator, begin)) != std::string_view::npos;
         begin = at + separator.size())
      parts.emplace_back(begin, text.substr(begin, at - begin));
  parts.emplace_back(begin, text.substr(begin));
  return parts;
}

Result<std::vector<std::string>> expandPattern(const std::string &pattern) {
  if (pattern.find_first_of("*?[") == std::string::npos)
    return std::vector<std::string>{pattern};
  glob_t found;
  int status = glob(pattern.c_str(), GLOB_MARK, nullptr, &found);
  std::vector<std::string> files;
  std::set<std::pair<dev_t, ino_t>> seen;
  if (status == 0)
    for (size_t i = 0; i < found.gl_pathc; ++i) {
      struct stat info;
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

Result<Corpus> loadCorpus(const std::vector<DataConfig> &tables, const TextEncoder &encoder,
                          const DataLimits &limits) {
  Corpus corpus;
  for (const DataConfig &table : tables) {
    int64_t firstSample = corpus.samples;
    size_t firstPiece = corpus.pieces.size(), firstToken = corpus.ids.size();
    if (table.format == "tokens" && tables.size() > 1)
      return refused(
          "data '" + table.name +
          "' has format = \"tokens\", whose batches stand alone; make it the only [[data]]");
    if (table.format != "tokens" && !encoder.encode)
      return refused("data '" + table.name +
                     "' is text, but the model has no tokenizer; "
                     "use format = \"tokens\" or a model with a tokenizer");
    TextLoader text(table, encoder, limits, corpus);
    size_t fileCount = 0;
    for (const std::string &pattern : table.paths) {
      Result<std::vector<std::string>> files = expandPattern(pattern);
      if (!files)
        return files.error();
      for (const std::string &file : *files) {
        ++fileCount;
        if (table.format == "tokens" && fileCount > 1)
          return refused("data '" + table.name +
                         "' has several files of format = \"tokens\"; give one");
        Result<void> loaded =
            table.format == "tokens" ? loadTokens(file, limits, corpus) : text.loadFile(file);
        if (!loaded)
          return loaded.error();
      }
    }
    if (corpus.pieces.size() == firstPiece)
      return refused("data '" + table.name + "' holds no sample of at least two tokens");
    int64_t held = splitEval(table, limits, firstSample, firstPiece, corpus);
    std::string note = "data '" + table.name +
                       "': " + std::to_string(corpus.samples - firstSample) + " samples, " +
                       std::to_string(corpus.ids.size() - firstToken) + " tokens";
    if (held)
      note += ", " + std::to_string(held) + " samples held out";
    if (text.overlong)
      note += ", " + std::to_string(text.overlong) +
              (table.overlong == "truncate" ? " cut to " : " split at ") +
              std::to_string(limits.maxLength) + " tokens";
    if (text.empty)
      note += ", " + std::to_string(text.empty) + " empty left out";
    corpus.notes.push_back(note);
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
