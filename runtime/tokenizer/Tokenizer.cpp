#include "runtime/tokenizer/Tokenizer.h"

#include "runtime/tokenizer/AddedTokens.h"
#include "runtime/tokenizer/Bpe.h"
#include "runtime/tokenizer/ByteLevel.h"
#include "runtime/tokenizer/Cut.h"
#include "runtime/tokenizer/Utf8.h"
#include "runtime/tokenizer/Vocabulary.h"

#include <algorithm>
#include <iterator>

namespace lorac {

using namespace tok;

namespace {

StringIndex indexOf(const VocabularyData &data, bool ofModel) {
  StringIndex index(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id)
    if (!data.tokens[id].empty() && (!ofModel || data.inModel.empty() || data.inModel[id]))
      index.add(data.tokens[id], static_cast<int32_t>(id));
  return index;
}

/// Offsets and ids are 32 bits wide inside; a text may grow when it is normalized.
Result<void> checkLength(size_t bytes) {
  if (bytes < size_t{1} << 31)
    return {};
  return Error{"a text of " + std::to_string(bytes) +
                   " bytes is too long for one call; cut it below 2 GiB",
               Exit::Refused};
}

/// What BPE sees of an added token that is sought in normalized text.
std::string normalizedContent(const VocabularyData &data, const AddedToken &token) {
  bool atStart = false;
  auto text = normalize(data.normalizers, token.content, atStart);
  return text ? *text : token.content;
}

} // namespace

struct Tokenizer::Parts {
  VocabularyData data;
  StringIndex all;
  StringIndex ofModel;
  Bpe bpe;
  AddedTokenFinder raw;
  AddedTokenFinder normalized;
  std::vector<const AddedToken *> addedById; // null: an ordinary token
  bool cutsAtSpaces = false;
  std::vector<Normalizer> behindCut; // the normalizers without what is set before a text

  explicit Parts(VocabularyData given)
      : data(std::move(given)), all(indexOf(data, false)), ofModel(indexOf(data, true)),
        bpe(data, ofModel, all), addedById(data.tokens.size()) {
    for (const AddedToken &token : data.added)
      addedById[static_cast<size_t>(token.id)] = &token; // of two for one id the later counts
    for (const AddedToken *token : addedById) {
      if (token && token->normalized)
        normalized.add(*token, normalizedContent(data, *token));
      else if (token)
        raw.add(*token, token->content);
    }
    raw.prepare();
    normalized.prepare();
    cutsAtSpaces = tok::cutsAtSpaces(data, bpe.cutsWords());
    std::copy_if(data.normalizers.begin(), data.normalizers.end(), std::back_inserter(behindCut),
                 [](const Normalizer &step) { return step.kind != Normalizer::Kind::Prepend; });
  }
  Parts(const Parts &) = delete;
  Parts &operator=(const Parts &) = delete;

  bool has(int32_t id) const { return id >= 0 && static_cast<size_t>(id) < data.tokens.size(); }
};

struct EncodeScratch {
  std::vector<int32_t> ids;
  std::vector<AddedTokenFinder::Part> outer;
  std::vector<AddedTokenFinder::Part> inner;
  TextPieces pieces;
  Bpe::Scratch bpe;
};

Tokenizer Tokenizer::fromData(VocabularyData data) {
  return Tokenizer(std::make_shared<const Parts>(std::move(data)));
}

size_t Tokenizer::lastCut(std::string_view utf8) const {
  return parts->cutsAtSpaces ? tok::lastCut(utf8) : 0;
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view utf8, Specials specials,
                                               bool continues) const {
  if (Result<void> fits = checkLength(utf8.size()); !fits)
    return fits.error();
  if (auto at = firstInvalidUtf8(utf8))
    return Error{"the text is not UTF-8 at byte " + std::to_string(*at) + "; convert it to UTF-8",
                 Exit::Refused};
  EncodeScratch scratch;
  const bool asText = specials == Specials::AsText;
  parts->raw.split(utf8, asText, scratch.outer);
  for (const AddedTokenFinder::Part &part : scratch.outer) {
    if (part.token) {
      scratch.ids.push_back(part.token->id);
      continue;
    }
    std::string_view text = utf8.substr(part.span.begin, part.span.end - part.span.begin);
    if (Result<void> done = encodeText(text, part.span.begin == 0, continues, asText, scratch);
        !done)
      return done.error();
  }
  return std::move(scratch.ids);
}

/// A stretch without raw added tokens.
Result<void> Tokenizer::encodeText(std::string_view text, bool atStart, bool continues,
                                   bool specialsAsText, EncodeScratch &scratch) const {
  // Only the stretch that begins at the cut goes on with one; the others begin as in the whole.
  const bool behindCut = continues && atStart;
  atStart &= !continues;
  auto normal = normalize(behindCut ? parts->behindCut : parts->data.normalizers, text, atStart);
  if (!normal)
    return normal.error();
  if (Result<void> fits = checkLength(normal->size()); !fits)
    return fits.error();
  parts->normalized.split(*normal, specialsAsText, scratch.inner);
  for (const AddedTokenFinder::Part &part : scratch.inner) {
    if (part.token) {
      scratch.ids.push_back(part.token->id);
      continue;
    }
    std::string_view stretch =
        std::string_view(*normal).substr(part.span.begin, part.span.end - part.span.begin);
    if (Result<void> done = preTokenize(parts->data.preTokenizers, stretch,
                                        atStart && part.span.begin == 0, scratch.pieces);
        !done)
      return done;
    for (size_t i = 0; i < scratch.pieces.size(); ++i)
      parts->bpe.encode(scratch.pieces[i], scratch.bpe, scratch.ids);
  }
  return {};
}

Result<std::string> Tokenizer::decode(std::span<const int32_t> ids, bool skipSpecial) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!parts->has(ids[i]))
      return Error{"id " + std::to_string(ids[i]) + " at place " + std::to_string(i) +
                       " is not in the vocabulary of " + std::to_string(vocabularySize()) +
                       " tokens",
                   Exit::Refused};
    auto id = static_cast<size_t>(ids[i]);
    const AddedToken *added = parts->addedById[id];
    if (added && added->special && skipSpecial)
      continue;
    if (added && parts->data.addedAreRaw) {
      tokens.emplace_back();
      appendByteLevel(tokens.back(), added->content);
    } else {
      tokens.push_back(added ? added->content : parts->data.tokens[id]);
    }
  }
  return decodeTokens(parts->data.decoders, std::move(tokens));
}

size_t Tokenizer::vocabularySize() const { return parts->data.tokens.size(); }

Result<std::string> Tokenizer::tokenText(int32_t id) const {
  if (!parts->has(id))
    return Error{"id " + std::to_string(id) + " is not in the vocabulary of " +
                     std::to_string(vocabularySize()) + " tokens",
                 Exit::Refused};
  return parts->data.tokens[static_cast<size_t>(id)];
}

int32_t Tokenizer::idOf(std::string_view token) const { return parts->all.lookup(token); }

int32_t Tokenizer::bos() const { return parts->data.bos; }
int32_t Tokenizer::eos() const { return parts->data.eos; }
bool Tokenizer::addBos() const { return parts->data.addBos; }
bool Tokenizer::addEos() const { return parts->data.addEos; }

} // namespace lorac
