#include "runtime/tokenizer/Bpe.h"

#include "runtime/tokenizer/Utf8.h"

#include <algorithm>
#include <bit>
#include <cstdio>

namespace lorac::tok {
namespace {

constexpr uint32_t noRank = ~uint32_t{0};
constexpr uint32_t smallCharacters = 0x180;
constexpr size_t longestScanned = 32; // symbols; beyond it a heap is quicker
constexpr std::string_view metaspace = "\xe2\x96\x81";

/// Smaller is better; equal scores are equal. Scores are finite.
uint32_t rankOfScore(float score) {
  uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f); // -0 becomes 0
  return ~(bits ^ (bits >> 31 ? ~uint32_t{0} : 0x80000000u));
}

/// Where the first U+2581 behind another character stands, or npos.
size_t innerMetaspace(std::string_view text, size_t from = 0) {
  for (size_t at = from; (at = text.find(metaspace, at)) != std::string_view::npos;
       at += metaspace.size())
    if (at > 0 && (at < 3 || text.substr(at - 3, 3) != metaspace))
      return at;
  return std::string_view::npos;
}

} // namespace

MergeTable::MergeTable(const std::vector<Merge> &merges) {
  entries.resize(std::bit_ceil(merges.size() * 2 + 2));
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    uint64_t pair = key(merges[rank].left, merges[rank].right);
    entries[slotOf(pair)] = {pair, static_cast<uint32_t>(rank), merges[rank].result};
  }
}

uint64_t MergeTable::key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t MergeTable::slotOf(uint64_t pair) const {
  uint64_t hash = (pair ^ pair >> 31) * 0x9e3779b97f4a7c15u;
  size_t mask = entries.size() - 1;
  for (size_t at = (hash ^ hash >> 32) & mask;; at = (at + 1) & mask)
    if (entries[at].result < 0 || entries[at].pair == pair)
      return at;
}

const MergeTable::Entry *MergeTable::find(int32_t left, int32_t right) const {
  const Entry &entry = entries[slotOf(key(left, right))];
  return entry.result < 0 ? nullptr : &entry;
}

Bpe::Bpe(const VocabularyData &data, const StringIndex &index, const StringIndex &all)
    : data(data), index(index), table(data.merges), smallIds(smallCharacters, -1) {
  if (data.byteFallback) {
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      byteIds.push_back(all.lookup(name));
    }
  }
  for (uint32_t c = 0; c < smallCharacters; ++c) {
    std::string text;
    appendUtf8(text, c);
    smallIds[c] = index.lookup(text);
  }
  for (const std::string &token : data.tokens)
    longestToken = std::max(longestToken, token.size());
  cuttable = cutsAtMetaspace();
}

bool Bpe::cutsAtMetaspace() const {
  if (data.ignoreMerges || !data.subwordPrefix.empty() || !data.wordSuffix.empty() ||
      index.lookup(metaspace) < 0)
    return false;
  auto whole = [&](std::string_view token) {
    return innerMetaspace(token) == std::string_view::npos || index.lookup(token) < 0;
  };
  if (data.byScores)
    return std::all_of(data.tokens.begin(), data.tokens.end(), whole);
  return std::all_of(data.merges.begin(), data.merges.end(), [&](const Merge &merge) {
    return whole(data.tokens[static_cast<size_t>(merge.result)]);
  });
}

void Bpe::encode(std::string_view piece, Scratch &scratch, std::vector<int32_t> &ids) const {
  if (data.ignoreMerges) {
    if (int32_t id = index.lookup(piece); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  size_t begin = 0;
  if (cuttable) {
    for (size_t at = 0; (at = innerMetaspace(piece, at)) != std::string_view::npos;
         at += metaspace.size()) {
      encodeWord(piece.substr(begin, at - begin), scratch, ids);
      begin = at;
    }
  }
  encodeWord(piece.substr(begin), scratch, ids);
}

void Bpe::encodeWord(std::string_view word, Scratch &scratch, std::vector<int32_t> &ids) const {
  std::vector<Symbol> &symbols = scratch.symbols;
  makeSymbols(word, symbols);
  if (symbols.size() <= longestScanned)
    mergeByScan(word, scratch);
  else
    mergeByHeap(word, scratch);
  // With scores, what no merge took is unknown only now.
  bool afterUnknown = false;
  for (const Symbol &symbol : symbols) {
    if (symbol.size == 0)
      continue;
    bool unknown = symbol.id < 0;
    if (!unknown) {
      ids.push_back(symbol.id);
    } else if (data.byteFallback) {
      unknown = false;
      for (char byte : word.substr(symbol.begin, symbol.size)) {
        int32_t id = byteIds[static_cast<unsigned char>(byte)];
        unknown = id < 0;
        if (!unknown)
          ids.push_back(id);
        else if (data.unknown >= 0)
          ids.push_back(data.unknown);
      }
    } else if (data.unknown >= 0 && !(afterUnknown && data.fuseUnknown)) {
      ids.push_back(data.unknown);
    }
    afterUnknown = unknown;
  }
}

int32_t Bpe::characterId(std::string_view character, bool first, bool last) const {
  bool plain = (first || data.subwordPrefix.empty()) && (!last || data.wordSuffix.empty());
  if (!plain)
    return index.lookup((first ? "" : data.subwordPrefix) + std::string(character) +
                        (last ? data.wordSuffix : ""));
  size_t pos = 0;
  if (character.size() <= 2)
    if (uint32_t c = nextCodePoint(character, pos); c < smallCharacters)
      return smallIds[c];
  return index.lookup(character);
}

/// One symbol for each byte, where all of them have a token.
bool Bpe::appendBytes(std::string_view text, uint32_t begin, std::vector<Symbol> &symbols) const {
  for (char byte : text)
    if (byteIds[static_cast<unsigned char>(byte)] < 0)
      return false;
  for (char byte : text)
    symbols.push_back({byteIds[static_cast<unsigned char>(byte)], begin++, 1, 1, 0, 0});
  return true;
}

void Bpe::makeSymbols(std::string_view word, std::vector<Symbol> &symbols) const {
  symbols.clear();
  bool afterUnknown = false;
  for (size_t pos = 0; pos < word.size();) {
    size_t width = characterBytes(static_cast<unsigned char>(word[pos]));
    auto begin = static_cast<uint32_t>(pos);
    std::string_view character = word.substr(pos, width);
    int32_t id = characterId(character, pos == 0, pos + width == word.size());
    pos += width;
    bool unknown = id < 0 && !data.byScores;
    if (!unknown)
      symbols.push_back({id, begin, static_cast<uint32_t>(width), 1, 0, 0});
    else if (data.byteFallback && appendBytes(character, begin, symbols))
      unknown = false;
    else if (data.unknown >= 0 && !(afterUnknown && data.fuseUnknown))
      symbols.push_back({data.unknown, begin, static_cast<uint32_t>(width), 1, 0, 0});
    afterUnknown = unknown;
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < symbols.size() ? static_cast<int32_t>(i) + 1 : -1;
  }
}

/// The merge of two neighbours; its rank is `noRank` where there is none.
Bpe::Candidate Bpe::candidate(std::string_view word, const Symbol &left,
                              const Symbol &right) const {
  Candidate none{noRank, 0, 0, -1, 0};
  if (!data.byScores) {
    const MergeTable::Entry *entry = table.find(left.id, right.id);
    return entry ? Candidate{entry->rank, 0, 0, entry->result, left.count + right.count} : none;
  }
  if (left.size + right.size > longestToken)
    return none;
  int32_t id = index.lookup(word.substr(left.begin, left.size + right.size));
  if (id < 0)
    return none;
  return {rankOfScore(data.scores[static_cast<size_t>(id)]), 0, 0, id, left.count + right.count};
}

void Bpe::mergeByScan(std::string_view word, Scratch &scratch) const {
  auto &symbols = scratch.symbols;
  auto &pairs = scratch.candidates; // pairs[i]: symbols i and i + 1
  pairs.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    pairs.push_back(candidate(word, symbols[i], symbols[i + 1]));
  while (!pairs.empty()) {
    auto best = std::min_element(pairs.begin(), pairs.end(),
                                 [](const auto &a, const auto &b) { return a.rank < b.rank; });
    if (best->rank == noRank)
      return;
    auto at = best - pairs.begin();
    Symbol &left = symbols[static_cast<size_t>(at)];
    left.id = best->result;
    left.size += symbols[static_cast<size_t>(at) + 1].size;
    left.count = best->count;
    symbols.erase(symbols.begin() + at + 1);
    pairs.erase(best);
    auto i = static_cast<size_t>(at);
    if (i < pairs.size())
      pairs[i] = candidate(word, symbols[i], symbols[i + 1]);
    if (i > 0)
      pairs[i - 1] = candidate(word, symbols[i - 1], symbols[i]);
  }
}

void Bpe::mergeByHeap(std::string_view word, Scratch &scratch) const {
  auto &symbols = scratch.symbols;
  auto &heap = scratch.candidates;
  auto later = [](const Candidate &a, const Candidate &b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  auto at = [&](int32_t i) -> Symbol & { return symbols[static_cast<size_t>(i)]; };
  auto offer = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0)
      return false;
    Candidate found = candidate(word, at(left), at(right));
    if (found.rank == noRank)
      return false;
    found.left = left;
    found.right = right;
    heap.push_back(found);
    return true;
  };
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    offer(static_cast<int32_t>(i), static_cast<int32_t>(i) + 1);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    Candidate best = heap.back();
    heap.pop_back();
    Symbol &left = at(best.left);
    Symbol &right = at(best.right);
    if (left.size == 0 || right.size == 0 || left.count + right.count != best.count)
      continue;
    left.id = best.result;
    left.size += right.size;
    left.count = best.count;
    left.next = right.next;
    right.size = 0;
    if (left.next >= 0)
      at(left.next).previous = best.left;
    if (offer(left.previous, best.left))
      std::push_heap(heap.begin(), heap.end(), later);
    if (offer(best.left, left.next))
      std::push_heap(heap.begin(), heap.end(), later);
  }
}

} // namespace lorac::tok
