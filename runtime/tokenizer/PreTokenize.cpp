// The pre-tokenizers: each cuts the pieces of the one before into smaller ones.
#include "runtime/tokenizer/ByteLevel.h"
#include "runtime/tokenizer/CharacterClasses.h"
#include "runtime/tokenizer/Components.h"
#include "runtime/tokenizer/Utf8.h"

namespace lorac::tok {

const char *const gpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

/// One step over all pieces. `atStart`: the first piece begins where the whole input does.
class Step {
public:
  Step(const PreTokenizer &step, const TextPieces &in, bool &atStart, TextPieces &out)
      : step(step), in(in), atStart(atStart), out(out) {}

  Result<void> run() {
    using Kind = PreTokenizer::Kind;
    switch (step.kind) {
    case Kind::Split:
    case Kind::Whitespace:
      return eachPiece([&](std::string_view piece) { return splitByPattern(piece); });
    case Kind::Digits:
      return eachPiece([&](std::string_view piece) {
        return splitByCharacter(piece, isNumeric,
                                step.individual ? Behavior::Isolated : Behavior::Contiguous);
      });
    case Kind::WhitespaceSplit:
      return eachPiece([&](std::string_view piece) {
        return splitByCharacter(piece, isSpace, Behavior::Removed);
      });
    case Kind::Punctuation:
      return eachPiece([&](std::string_view piece) {
        return splitByCharacter(piece, isPunctuation, step.behavior);
      });
    case Kind::Bert:
      return eachPiece([&](std::string_view piece) { return bert(piece); });
    case Kind::ByteLevel:
      return eachPiece([&](std::string_view piece) { return byteLevel(piece); });
    case Kind::Metaspace:
      return eachPiece([&](std::string_view piece) { return metaspace(piece); });
    }
    return {};
  }

private:
  template <typename Body>
  Result<void> eachPiece(Body body) {
    for (index = 0; index < in.size(); ++index)
      if (Result<void> done = body(in[index]); !done)
        return done;
    return {};
  }

  void add(std::string_view piece, Behavior behavior) {
    if (index == 0 && behavior == Behavior::Removed && !parts.empty() && parts.front().isMatch &&
        parts.front().span.end > 0)
      atStart = false;
    addParts(out, piece, parts, behavior);
  }

  /// The parts of `piece` by the step's pattern.
  Result<void> findParts(std::string_view piece, const Pattern &pattern, bool invert) {
    PartsBuilder builder(parts, invert);
    if (pattern.regex) {
      if (!searcher)
        searcher.emplace(*pattern.regex, in.bytes());
      searcher->start(piece);
      for (Span span;;) {
        auto found = searcher->next(span);
        if (!found)
          return found.error();
        if (!*found)
          break;
        builder.match(span);
      }
    } else {
      for (size_t at = 0; (at = piece.find(pattern.literal, at)) != std::string_view::npos;
           at += pattern.literal.size())
        builder.match({at, at + pattern.literal.size()});
    }
    builder.finish(piece.size());
    return {};
  }

  Result<void> splitByPattern(std::string_view piece) {
    if (Result<void> found = findParts(piece, step.pattern, step.invert); !found)
      return found;
    add(piece, step.behavior);
    return {};
  }

  Result<void> splitByCharacter(std::string_view piece, bool (*matches)(uint32_t),
                                Behavior behavior) {
    PartsBuilder builder(parts, false);
    for (size_t pos = 0; pos < piece.size();) {
      size_t begin = pos;
      if (matches(nextCodePoint(piece, pos)))
        builder.match({begin, pos});
    }
    builder.finish(piece.size());
    add(piece, behavior);
    return {};
  }

  Result<void> bert(std::string_view piece) {
    size_t begin = 0;
    for (size_t pos = 0; pos < piece.size();) {
      size_t at = pos;
      uint32_t codePoint = nextCodePoint(piece, pos);
      bool space = isSpace(codePoint);
      if (!space && !isPunctuation(codePoint))
        continue;
      out.add(piece.substr(begin, at - begin));
      if (!space)
        out.add(piece.substr(at, pos - at));
      begin = pos;
    }
    out.add(piece.substr(begin));
    return {};
  }

  Result<void> byteLevel(std::string_view piece) {
    std::string prefixed;
    if (step.addPrefixSpace && piece.front() != ' ') {
      prefixed = " " + std::string(piece);
      piece = prefixed;
    }
    parts.assign(1, {{0, piece.size()}, false});
    if (step.useRegex)
      if (Result<void> found = findParts(piece, step.pattern, false); !found)
        return found;
    for (const Part &part : parts) {
      appendByteLevel(out.buffer(), piece.substr(part.span.begin, part.span.end - part.span.begin));
      out.close();
    }
    return {};
  }

  Result<void> metaspace(std::string_view piece) {
    std::string text;
    for (char c : piece)
      if (c == ' ')
        text += step.replacement;
      else
        text += c;
    bool prepend = step.prepend == PreTokenizer::Prepend::Always ||
                   (step.prepend == PreTokenizer::Prepend::First && atStart && index == 0);
    if (prepend && text.compare(0, step.replacement.size(), step.replacement) != 0)
      text.insert(0, step.replacement);
    if (!step.split) {
      out.add(text);
      return {};
    }
    if (Result<void> found = findParts(text, step.pattern, false); !found)
      return found;
    addParts(out, text, parts, Behavior::MergedWithNext);
    return {};
  }

  const PreTokenizer &step;
  const TextPieces &in;
  bool &atStart;
  TextPieces &out;
  size_t index = 0;
  std::vector<Part> parts;
  std::optional<Searcher> searcher;
};

} // namespace

Result<void> preTokenize(const std::vector<PreTokenizer> &steps, std::string_view text,
                         bool atStart, TextPieces &out) {
  out.clear();
  out.add(text);
  TextPieces next;
  for (const PreTokenizer &step : steps) {
    next.clear();
    if (Result<void> done = Step(step, out, atStart, next).run(); !done)
      return done;
    std::swap(out, next);
  }
  return {};
}

} // namespace lorac::tok
