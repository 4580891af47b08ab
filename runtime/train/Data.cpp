#include "runtime/train/Data.h"

#include "runtime/formats/Hash.h"
#include "runtime/train/Random.h"
#include "runtime/train/data/DataFormat.h"
#include "runtime/train/data/SampleSink.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <glob.h>
#include <set>
#include <sys/stat.h>

namespace lorac::train {

std::string placeInFile(uint64_t line, uint64_t row) {
  return line ? ", line " + std::to_string(line) : row ? ", row " + std::to_string(row) : "";
}

namespace {

std::string plural(int64_t count, const char *what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// The line for people.
std::string noteOf(const TableFacts &facts, const DataConfig &table, const DataLimits &limits) {
  std::string note = "data '" + facts.name + "': " + plural(facts.samples, "sample") + ", " +
                     plural(facts.tokens, "token");
  if (facts.heldOut)
    note += ", " + plural(facts.heldOut, "sample") + " held out";
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
  if (facts.unlabelled)
    note += ", " + plural(facts.unlabelled, "piece") + " without a label left out";
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

/// Puts the table's pieces, from `firstPiece` on, into train and eval; by the samples that have
/// any.
int64_t splitEval(const DataConfig &table, const DataLimits &limits, int64_t firstSample,
                  size_t firstPiece, Corpus &corpus) {
  std::vector<int64_t> place(size_t(corpus.samples - firstSample), -1); // among those with pieces
  int64_t count = 0;
  for (size_t i = firstPiece; i < corpus.pieces.size(); ++i)
    if (int64_t &own = place[corpus.pieces[i].sample - size_t(firstSample)]; own < 0)
      own = count++;
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
    (isEval[size_t(place[corpus.pieces[i].sample - size_t(firstSample)])] ? corpus.eval
                                                                          : corpus.train)
        .push_back(uint32_t(i));
  return held;
}

/// As 32-bit numbers, whatever they take in memory.
void hashTokens(formats::Hasher &hasher, const TokenList &list) {
  std::array<int32_t, 4096> buffer;
  for (size_t at = 0; at < list.size(); at += buffer.size()) {
    const size_t items = std::min(buffer.size(), list.size() - at);
    list.copy(at, items, buffer.data());
    hasher.add(buffer.data(), items * sizeof(int32_t));
  }
}

std::string hashCorpus(const Corpus &corpus) {
  formats::Hasher hasher;
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

Error nothingToTrainOn(const TableFacts &facts) {
  std::string left;
  if (facts.blank)
    left += plural(facts.blank, "sample") + " of white space";
  if (facts.single)
    left += (left.empty() ? "" : " and ") + plural(facts.single, "piece") + " of one token";
  if (facts.unlabelled)
    left += (left.empty() ? "" : " and ") + plural(facts.unlabelled, "piece") +
            " without a token of an answer";
  return refused("data '" + facts.name + "' holds no sample of at least two tokens" +
                 (left.empty() ? "" : ": " + left + " were left out") +
                 (facts.unlabelled ? "; raise train.max_length" : ""));
}

/// Files that were read, by what they are and not by name.
using FilesSeen = std::set<std::pair<dev_t, ino_t>>;

Result<void> loadTable(const DataConfig &table, const TextEncoder &encoder,
                       const DataLimits &limits, FilesSeen &seen, Corpus &corpus) {
  const int64_t firstSample = corpus.samples;
  const size_t firstPiece = corpus.pieces.size(), firstToken = corpus.ids.size();
  const DataFormat *format = findDataFormat(table.format);
  if (!format)
    return refused("data '" + table.name + "' has the format '" + table.format +
                   "', which this version does not read");
  const bool isText = format != &formatTokens;
  TableFacts facts;
  facts.name = table.name;
  facts.format = table.format;
  if (isText && !encoder.encode)
    return refused("data '" + table.name +
                   "' is text, but the model has no tokenizer; "
                   "use format = \"tokens\" or a model with a tokenizer");
  SampleSink sink(table, encoder, limits, corpus, facts);
  std::string lastFile; // of tokens there is one
  for (const std::string &pattern : table.paths) {
    LORAC_TRY_ASSIGN(std::vector<std::string> files, expandPattern(pattern));
    for (const std::string &file : files) {
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
      LORAC_TRY(format->load(file, sink));
      lastFile = file;
    }
  }
  facts.samples = corpus.samples - firstSample;
  facts.tokens = int64_t(corpus.ids.size() - firstToken);
  if (corpus.pieces.size() == firstPiece)
    return nothingToTrainOn(facts);
  countLabels(corpus, firstPiece, firstSample, facts);
  if (facts.labels == 0)
    return refused("data '" + table.name + "' has no label: all " + std::to_string(facts.tokens) +
                   " labels of its " + plural(facts.samples, "sample") +
                   " are -100 (the first of a row is never predicted); there is nothing to learn");
  if (isText) {
    sink.finish();
    if (facts.torn)
      corpus.warnings.push_back(
          "data '" + table.name + "': " + plural(facts.torn, "sample") + " with an answer " +
          (facts.torn == 1 ? "is" : "are") +
          " split at train.max_length = " + std::to_string(limits.maxLength) +
          ", so that answers may be trained without their prompt; raise it, or set overlong = "
          "\"truncate\" or \"error\"");
  } else {
    for (size_t i = firstPiece;
         i < corpus.pieces.size() && int64_t(i - firstPiece) < limits.shownSamples; ++i)
      facts.shown.push_back(
          {lastFile, 0, i - firstPiece + 1, {}, corpus.pieces[i].begin, corpus.pieces[i].count});
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
    LORAC_TRY(loadTable(table, encoder, limits, seen, corpus));
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
