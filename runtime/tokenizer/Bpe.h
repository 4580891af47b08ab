#pragma once
// Byte-pair encoding of one piece: symbols, then merges, the best pair first.

#include "runtime/tokenizer/StringIndex.h"
#include "runtime/tokenizer/Vocabulary.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace lorac::tok {

/// (left id, right id) -> rank and result; open addressing.
class MergeTable {
public:
  struct Entry {
    uint64_t pair = ~uint64_t{0};
    uint32_t rank = 0;
    int32_t result = -1; // -1: free
  };

  MergeTable() = default;
  explicit MergeTable(const std::vector<Merge> &merges);

  /// The merge of two ids, or null.
  const Entry *find(int32_t left, int32_t right) const;

private:
  static uint64_t key(int32_t left, int32_t right);
  size_t slotOf(uint64_t pair) const;

  std::vector<Entry> entries;
};

/// Near-linear in the piece: short pieces by scanning, long ones by a heap of candidate pairs.
class Bpe {
public:
  /// `index` knows the tokens of the model, `all` every token; `data` and `index` must outlive
  /// this.
  Bpe(const VocabularyData &data, const StringIndex &index, const StringIndex &all);

  struct Symbol {
    int32_t id;     // -1: a character that only a merge can make a token
    uint32_t begin; // of its bytes in the piece
    uint32_t size;  // 0: merged away
    uint32_t count; // of the symbols it was made from
    int32_t previous;
    int32_t next;
  };
  struct Candidate {
    uint32_t rank;
    int32_t left;
    int32_t right;
    int32_t result;
    uint32_t count; // of both; another one now: stale
  };
  /// Memory kept between pieces.
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> candidates;
  };

  /// Appends the ids of `piece`, which is well-formed UTF-8 of less than 2^31 bytes.
  void encode(std::string_view piece, Scratch &scratch, std::vector<int32_t> &ids) const;

  /// Whether a piece may be cut before each U+2581 that follows another character.
  bool cutsWords() const { return cuttable; }

private:
  void encodeWord(std::string_view word, Scratch &scratch, std::vector<int32_t> &ids) const;
  void makeSymbols(std::string_view word, std::vector<Symbol> &symbols) const;
  int32_t characterId(std::string_view character, bool first, bool last) const;
  bool appendBytes(std::string_view text, uint32_t begin, std::vector<Symbol> &symbols) const;
  Candidate candidate(std::string_view word, const Symbol &left, const Symbol &right) const;
  void mergeByScan(std::string_view word, Scratch &scratch) const;
  void mergeByHeap(std::string_view word, Scratch &scratch) const;
  bool cutsAtMetaspace() const;

  const VocabularyData &data;
  const StringIndex &index;
  MergeTable table;
  std::vector<int32_t> byteIds;  // of <0x00> ... <0xFF>, -1 where absent; empty without fallback
  std::vector<int32_t> smallIds; // of the characters below U+0180
  size_t longestToken = 0;
  /// No token has U+2581 behind another character: a text may be cut before each U+2581 that
  /// follows another character, and no id changes.
  bool cuttable = false;
};

} // namespace lorac::tok
