#include "runtime/train/data/SampleSink.h"

#include "runtime/train/DataKind.h"
#include "runtime/train/JsonFields.h"

#include <algorithm>

namespace lorac::train {

namespace {

constexpr std::string_view blanks = " \t\r\n\v\f";
constexpr size_t mostShown = 1 << 20; ///< of a text that comes in parts

std::string quotedBytes(const std::string &text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

} // namespace

SampleSink::SampleSink(const DataConfig &table, const TextEncoder &encoder,
                       const DataLimits &limits, Corpus &corpus, TableFacts &facts)
    : table(table), encoder(encoder), limits(limits), corpus(corpus), facts(facts),
      separator(decodedSeparator(table.separator)) {}

void SampleSink::lookAt(const std::string &path, const std::string &firstBytes) {
  if (facts.files > 1)
    return;
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

Result<void> SampleSink::readAll(SampleReader &reader,
                                 const std::function<Result<void>(const SamplePart &)> &add) {
  for (;;) {
    LORAC_TRY_ASSIGN(std::optional<SamplePart> part, reader.next());
    if (!part)
      break;
    LORAC_TRY(add(*part));
  }
  facts.carriageReturns |= reader.decoded().hadCarriageReturns();
  facts.utf16 |= reader.decoded().wasUtf16();
  // What an encoder holds of a text beside it: normalized, cut into pieces, merged, as ids.
  constexpr uint64_t perByte = 64;
  corpus.textBytes = std::max(corpus.textBytes, reader.mostHeld() + perByte * reader.longestPart());
  return {};
}

void SampleSink::finish() {
  if (firstFile.empty() || separator.empty() || facts.files > 1 || facts.samples != 1 ||
      facts.blank > 0)
    return;
  corpus.warnings.push_back("data '" + table.name + "': the whole of '" + firstFile +
                            "' is 1 sample, since the separator " + quotedBytes(separator) +
                            " does not occur in it; it begins with " + facts.start +
                            "; set data.separator, or separator = \"\" if that is meant");
}

Result<void> SampleSink::add(const SamplePart &part, const Place &place) {
  if (part.first && part.last && part.text.find_first_not_of(blanks) == std::string_view::npos) {
    ++facts.blank;
    return {};
  }
  if (part.first)
    begin(part.text);
  if (!shown.empty() && shown.back().text.size() < mostShown)
    shown.back().text += part.text;
  LORAC_TRY(encode(part.text, part.first, place));
  if (part.last)
    endWithEos();
  LORAC_TRY(checkIds());
  corpus.ids.append(encoded);
  return part.last ? endSample(place) : Result<void>();
}

Result<void> SampleSink::add(const std::vector<Segment> &segments, const Place &place) {
  if (segments.size() == 1 && segments.front().isTrained) {
    SamplePart whole;
    whole.text = segments.front().text;
    return add(whole, place);
  }
  std::string text;
  for (const Segment &segment : segments)
    text += segment.text;
  if (text.find_first_not_of(blanks) == std::string::npos) {
    ++facts.blank;
    return {};
  }
  begin(text);
  if (!shown.empty())
    shown = segments;
  const int64_t ownBos = facts.ownBos;
  LORAC_TRY(encode(text, true, place));
  const size_t ours = encoder.bos >= 0 && facts.ownBos == ownBos; // a bos before the text's tokens
  trained.assign(encoded.size(), false);
  size_t behind = 0;
  Boundary before{ours, ours};
  for (const Segment &segment : segments) {
    behind += segment.text.size();
    Result<Boundary> after = behind == text.size()
                                 ? Boundary{encoded.size(), encoded.size()}
                                 : boundaryOf(std::string_view(text).substr(0, behind), ours);
    if (!after)
      return refused(place.text() + after.error().message);
    if (segment.isTrained && before.whole < after->touching)
      std::fill(trained.begin() + long(before.whole), trained.begin() + long(after->touching),
                true);
    before = *after;
  }
  endWithEos();
  trained.resize(encoded.size(), segments.back().isTrained);
  LORAC_TRY(checkIds());
  corpus.ids.append(encoded);
  return endSample(place);
}

void SampleSink::begin(std::string_view text) {
  beginAt = corpus.ids.size();
  trained.clear();
  shown.clear();
  if (int64_t(facts.shown.size()) < limits.shownSamples)
    shown.push_back({});
  if (facts.samples == 0)
    facts.start = quotedStart(text);
}

Result<void> SampleSink::encode(std::string_view text, bool first, const Place &place) {
  encoded.clear();
  if (first && encoder.bos >= 0)
    encoded.push_back(encoder.bos);
  if (Result<void> done = (first ? encoder.encode : encoder.encodeMore)(text, encoded); !done)
    return refused(place.text() + done.error().message);
  // The text may bring its own.
  if (first && encoder.bos >= 0 && encoded.size() > 1 && encoded[1] == encoder.bos) {
    encoded.erase(encoded.begin());
    ++facts.ownBos;
  }
  return {};
}

/// The tokens of the sample that is read against the end of `text`, its beginning: mostly the
/// text's own tokens; where a token reaches over the end, the tokens' texts decide.
Result<SampleSink::Boundary> SampleSink::boundaryOf(std::string_view text, size_t ours) {
  std::vector<int32_t> own;
  if (text.empty())
    return Boundary{ours, ours};
  LORAC_TRY(encoder.encode(text, own));
  size_t at = 0;
  while (at < own.size() && ours + at < encoded.size() && own[at] == encoded[ours + at])
    ++at;
  if (at == own.size() || !encoder.decode)
    return Boundary{ours + at, ours + at};
  const std::string replacement = "\xef\xbf\xbd"; // of a character that is not whole yet
  auto lengthOf = [&](std::span<const int32_t> ids, bool &isWhole) -> Result<size_t> {
    LORAC_TRY_ASSIGN(std::string decoded, encoder.decode(ids));
    isWhole = !decoded.ends_with(replacement);
    while (decoded.ends_with(replacement))
      decoded.resize(decoded.size() - replacement.size());
    return decoded.size();
  };
  bool isWhole = true;
  LORAC_TRY_ASSIGN(const size_t end, lengthOf(own, isWhole));
  const std::span<const int32_t> all = std::span<const int32_t>(encoded).subspan(ours);
  LORAC_TRY_ASSIGN(const size_t same, lengthOf(all.first(at), isWhole));
  size_t reached = same;
  for (; at < all.size(); ++at) {
    LORAC_TRY_ASSIGN(const size_t length, lengthOf(all.first(at + 1), isWhole));
    if (length > end || (length == end && !isWhole))
      break;
    reached = length;
  }
  return Boundary{ours + at, ours + at + (reached < end)};
}

/// One eos ends the sample, be it the text's own.
void SampleSink::endWithEos() {
  if (encoder.eos < 0)
    return;
  const size_t before = corpus.ids.size() - beginAt, count = before + encoded.size();
  const int32_t last = !encoded.empty() ? encoded.back()
                       : before > 0     ? corpus.ids[corpus.ids.size() - 1]
                                        : -1;
  if (last == encoder.eos && (encoder.bos != encoder.eos || count > 1))
    ++facts.ownEos;
  else
    encoded.push_back(encoder.eos);
}

Result<void> SampleSink::checkIds() const {
  for (size_t i = 0; i < encoded.size(); ++i)
    if (encoded[i] < 0 || encoded[i] >= limits.vocab)
      return refused("token " + std::to_string(encoded[i]) + " at " +
                     std::to_string(corpus.ids.size() + i) +
                     " is outside of the model's vocabulary of " + std::to_string(limits.vocab) +
                     "; the tokenizer and the model do not belong together");
  return {};
}

Result<void> SampleSink::endSample(const Place &place) {
  uint64_t count = corpus.ids.size() - beginAt, most = uint64_t(limits.maxLength);
  if (facts.samples == 0) {
    facts.startTokens = int64_t(count);
    facts.startHasBos = encoder.bos >= 0 && corpus.ids[beginAt] == encoder.bos;
    facts.startHasEos = encoder.eos >= 0 && corpus.ids[beginAt + count - 1] == encoder.eos;
  }
  if (count > most) {
    ++facts.overlong;
    facts.torn += !trained.empty() && table.overlong == "split";
    if (table.overlong == "error")
      return refused(place.text() + "the sample has " + std::to_string(count) +
                     " tokens, train.max_length is " + std::to_string(most) +
                     "; set overlong = \"split\" or \"truncate\", or raise max_length");
    if (table.overlong == "truncate") {
      facts.cutTokens += int64_t(count - most);
      corpus.ids.shrink(beginAt + most);
      count = most;
    }
  }
  addTargets(count, most);
  if (!shown.empty())
    facts.shown.push_back({place.path, place.line, place.row, std::move(shown), beginAt, count});
  for (uint64_t done = 0; done < count; done += most) {
    const Piece piece{beginAt + done, uint32_t(std::min(most, count - done)),
                      uint32_t(corpus.samples)};
    bool hasLabel = trained.empty();
    for (uint32_t i = 0; i + 1 < piece.count && !hasLabel; ++i)
      hasLabel = corpus.target(piece, i) >= 0;
    if (piece.count == 1)
      ++facts.single;
    else if (!hasLabel)
      ++facts.unlabelled;
    else
      corpus.pieces.push_back(piece);
  }
  ++corpus.samples;
  ++facts.samples;
  return {};
}

/// Targets of the sample's tokens, where some sample of the corpus has tokens that are not trained.
void SampleSink::addTargets(uint64_t count, uint64_t most) {
  if (trained.empty() && corpus.targets.empty())
    return;
  if (corpus.targets.empty()) { // those of tables before
    size_t at = 0;
    for (const Piece &piece : corpus.pieces) {
      for (; at < piece.begin; ++at)
        corpus.targets.push_back(-100);
      for (uint32_t i = 0; i < piece.count; ++i, ++at)
        corpus.targets.push_back(i + 1 < piece.count ? corpus.ids[at + 1] : -100);
    }
    for (; at < beginAt; ++at)
      corpus.targets.push_back(-100);
  }
  for (uint64_t i = 0; i < count; ++i) {
    const bool isLast = i + 1 == count || (i + 1) % most == 0; // of its piece
    const bool isTrained = !isLast && (trained.empty() || trained[i + 1]);
    corpus.targets.push_back(isTrained ? corpus.ids[beginAt + i + 1] : -100);
  }
}

} // namespace lorac::train
