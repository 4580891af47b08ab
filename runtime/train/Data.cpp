#include "runtime/train/Data.h"

#include "runtime/train/Hash.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Random.h"
#include "runtime/train/SampleReader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <glob.h>
#include <set>
#include <sys/stat.h>

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
    const bool lines = table.format == "jsonl";
    Result<SampleReader> reader =
        SampleReader::open(path, lines ? "\n" : table.separator, lines ? nullptr : encoder.cut);
    if (!reader)
      return reader.error();
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
    // What an encoder holds of a text beside it: normalized, cut into pieces, merged, as ids.
    constexpr uint64_t perByte = 64;
    corpus.textBytes =
        std::max(corpus.textBytes, reader->mostHeld() + perByte * reader->longestPart());
    return {};
  }

  int64_t samples = 0, empty = 0, overlong = 0;

private:
  Result<void> addLine(std::string_view line, const std::string &path, const std::string &where) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      return {};
    Json value = Json::parse(line.begin(), line.end(), nullptr, false);
    if (value.is_discarded())
      return refused("data file '" + path + "', " + where + ": not JSON");
    if (!value.is_object() || !value.contains("text") || !value["text"].is_string())
      return refused("data file '" + path + "', " + where +
                     ": needs an object with the string \"text\"");
    SamplePart whole;
    whole.text = value["text"].get_ref<const std::string &>();
    return addPart(whole, path, where);
  }

  Result<void> addPart(const SamplePart &part, const std::string &path, const std::string &where) {
    if (part.first && part.last &&
        part.text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos) {
      ++empty;
      return {};
    }
    encoded.clear();
    if (part.first) {
      begin = corpus.ids.size();
      if (encoder.bos >= 0)
        encoded.push_back(encoder.bos);
    }
    const auto &encode = part.first ? encoder.encode : encoder.encodeMore;
    if (Result<void> done = encode(part.text, encoded); !done)
      return refused("data file '" + path + "', " + where + ": " + done.error().message);
    if (part.last && encoder.eos >= 0)
      encoded.push_back(encoder.eos);
    if (Result<void> known = checkIds(); !known)
      return known;
    corpus.ids.append(encoded);
    return part.last ? endSample(path, where) : Result<void>();
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
    if (count > most) {
      ++overlong;
      if (table.overlong == "error")
        return refused("data file '" + path + "', " + where + ": the sample has " +
                       std::to_string(count) + " tokens, train.max_length is " +
                       std::to_string(most) +
                       "; set overlong = \"split\" or \"truncate\", or raise max_length");
      if (table.overlong == "truncate") {
        corpus.ids.shrink(begin + most);
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
  std::vector<int32_t> encoded;
  uint64_t begin = 0; ///< of the sample that is read
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
  corpus.ids = TokenList(limits.vocab), corpus.targets = TokenList(limits.vocab);
  corpus.tokenizerBytes = encoder.bytes;
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
  corpus.pieces.shrink_to_fit();
  corpus.train.shrink_to_fit();
  corpus.eval.shrink_to_fit();
  corpus.hash = hashCorpus(corpus);
  return corpus;
}

} // namespace lorac::train
