#include "runtime/tokenizer/Cut.h"

#include <algorithm>
#include <array>

namespace lorac::tok {
namespace {

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool cutsInside(const std::string &content) {
  for (size_t i = 1; i < content.size(); ++i)
    if (content[i] == ' ' && isLetter(content[i - 1]))
      return true;
  return false;
}

/// No token that is sought in the text may span a cut or take the space behind it.
bool tokensAllow(const VocabularyData &data) {
  return std::none_of(data.added.begin(), data.added.end(), [](const AddedToken &token) {
    return token.rstrip || cutsInside(token.content);
  });
}

/// Unicode's forms leave a space and what stands before it alone. What stands at the start of the
/// text (Prepend) is left out behind a cut.
bool normalizerAllows(const Normalizer &step) {
  using Kind = Normalizer::Kind;
  switch (step.kind) {
  case Kind::Nfc:
  case Kind::Nfd:
  case Kind::Nfkc:
  case Kind::Nfkd:
  case Kind::Lowercase:
  case Kind::Prepend:
    return true;
  case Kind::Replace:
    return !step.pattern.regex && step.pattern.literal == " ";
  default:
    return false;
  }
}

bool replacesSpaces(const VocabularyData &data) {
  auto isMetaspace = [](const PreTokenizer &step) {
    return step.kind == PreTokenizer::Kind::Metaspace && step.replacement == "\xe2\x96\x81";
  };
  return std::any_of(data.normalizers.begin(), data.normalizers.end(),
                     [](const Normalizer &step) {
                       return step.kind == Normalizer::Kind::Replace &&
                              step.content == "\xe2\x96\x81";
                     }) ||
         std::any_of(data.preTokenizers.begin(), data.preTokenizers.end(), isMetaspace);
}

// In all of these a match that took a letter takes no space behind it, none looks back, and none
// looks further ahead than white space goes.
bool isWordPattern(std::string_view pattern) {
  static constexpr std::string_view llama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static constexpr std::string_view qwen2 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  return pattern == gpt2Pattern || pattern == llama3 || pattern == qwen2;
}

bool isDigitPattern(std::string_view pattern) {
  return pattern == R"(\p{N})" || pattern == R"(\p{N}{1,3})" || pattern == R"(\p{N}+)";
}

} // namespace

bool cutsAtSpaces(const VocabularyData &data, bool bpeCuts) {
  if (!tokensAllow(data) ||
      !std::all_of(data.normalizers.begin(), data.normalizers.end(), normalizerAllows))
    return false;
  bool words = false;
  for (const PreTokenizer &step : data.preTokenizers) {
    using Kind = PreTokenizer::Kind;
    if (step.kind == Kind::Digits || step.kind == Kind::Metaspace)
      continue;
    if (step.kind == Kind::ByteLevel) {
      words |= step.useRegex;
      continue;
    }
    if (step.kind != Kind::Split || !step.pattern.regex || step.invert ||
        step.behavior != Behavior::Isolated)
      return false;
    const std::string &pattern = step.pattern.regex->pattern();
    if (!isWordPattern(pattern) && !isDigitPattern(pattern))
      return false;
    words |= isWordPattern(pattern);
  }
  return words || (bpeCuts && replacesSpaces(data));
}

size_t lastCut(std::string_view text) {
  for (size_t at = text.size(); at-- > 1;)
    if (text[at] == ' ' && isLetter(text[at - 1]) && at + 1 < text.size() && isLetter(text[at + 1]))
      return at;
  return 0;
}

} // namespace lorac::tok
