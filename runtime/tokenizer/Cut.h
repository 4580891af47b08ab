#pragma once
// Whether a long text may be cut and its parts encoded one after another.

#include "runtime/tokenizer/Vocabulary.h"

#include <string_view>

namespace lorac::tok {

/// Whether the ids of a text are those of its parts where it is cut before a single space between
/// two ASCII letters. True only where it is proved: for known patterns, or where BPE itself cuts
/// there (`bpeCuts`: before each U+2581 behind another character).
bool cutsAtSpaces(const VocabularyData &data, bool bpeCuts);

/// The last such space in `text`, or 0.
size_t lastCut(std::string_view text);

} // namespace lorac::tok
