#include "runtime/tokenizer/TextPieces.h"

namespace lorac::tok {
namespace {

/// Cuts that merge each match with one neighbour, seen in the order of `parts`.
std::vector<Span> merged(const std::vector<Part> &parts, Behavior behavior) {
  std::vector<Span> spans;
  bool previousMatch = false;
  for (const Part &part : parts) {
    bool join = behavior == Behavior::Contiguous ? part.isMatch == previousMatch
                                                 : part.isMatch && !previousMatch;
    if (join && !spans.empty())
      spans.back().end = part.span.end;
    else
      spans.push_back(part.span);
    previousMatch = part.isMatch;
  }
  return spans;
}

std::vector<Span> mergedWithNext(const std::vector<Part> &parts) {
  std::vector<Span> spans;
  bool previousMatch = false;
  for (size_t i = parts.size(); i-- > 0;) {
    if (parts[i].isMatch && !previousMatch && !spans.empty())
      spans.back().begin = parts[i].span.begin;
    else
      spans.push_back(parts[i].span);
    previousMatch = parts[i].isMatch;
  }
  return {spans.rbegin(), spans.rend()};
}

} // namespace

void addParts(TextPieces &out, std::string_view piece, const std::vector<Part> &parts,
              Behavior behavior) {
  auto add = [&](Span span) { out.add(piece.substr(span.begin, span.end - span.begin)); };
  switch (behavior) {
  case Behavior::Removed:
    for (const Part &part : parts)
      if (!part.isMatch)
        add(part.span);
    break;
  case Behavior::Isolated:
    for (const Part &part : parts)
      add(part.span);
    break;
  case Behavior::MergedWithPrevious:
  case Behavior::Contiguous:
    for (Span span : merged(parts, behavior))
      add(span);
    break;
  case Behavior::MergedWithNext:
    for (Span span : mergedWithNext(parts))
      add(span);
    break;
  }
}

} // namespace lorac::tok
