#pragma once
// The samples of a text file, one after another, as TextDecoder reads it. Neither the file nor a
// long sample lies in memory whole: what is held is a window of the file.

#include "runtime/Result.h"
#include "runtime/UniqueFd.h"
#include "runtime/train/TextDecoder.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lorac::train {

/// A part of a sample, most often all of it.
struct SamplePart {
  uint64_t offset = 0; ///< of the sample's first byte, in the decoded text
  uint64_t line = 1;   ///< that it begins in
  std::string_view text;
  bool first = true, last = true;
};

class SampleReader {
public:
  /// Where a long text may be cut: the last such place behind which nothing of it matters, 0 where
  /// there is none.
  using Cut = std::function<size_t(std::string_view text)>;

  /// Samples stand between separators; with "" the file is one. A separator that is a whole line
  /// ("\n%\n") may be the first or the last line, or follow another. Samples of more than
  /// `partBytes` come in parts where `cut` knows a place; null: samples come whole. Error: not a
  /// regular file, or empty.
  static Result<SampleReader> open(const std::string &path, std::string separator, Cut cut);

  /// Nothing: the file is at its end. The text is valid until the next call, and well-formed UTF-8;
  /// the error names file, line and column where it is not.
  Result<std::optional<SamplePart>> next();

  /// The most bytes that were held, and the longest part.
  uint64_t mostHeld() const { return held; }
  uint64_t longestPart() const { return longest; }
  const TextDecoder &decoded() const { return decoder; }
  /// The first bytes of the file as they stand in it.
  const std::string &firstBytes() const { return begin; }

  static constexpr size_t partBytes = 32 << 10, readBytes = 128 << 10;

private:
  SampleReader() = default;
  Result<void> fill();
  std::optional<SamplePart> give(size_t end, size_t behind, bool last);
  std::optional<SamplePart> giveLast();
  /// The separator as a line of its own, without the line ends; "" where it is none.
  std::string_view lineOfSeparator() const;

  std::string path, separator;
  Cut cut;
  TextDecoder decoder;
  UniqueFd file;
  uint64_t size = 0, taken = 0; ///< of the file; read so far
  bool atEnd = false;           ///< all is in the window
  std::string window, begin;
  uint64_t windowAt = 0; ///< of the window's first byte, in the decoded text
  uint64_t line = 1;     ///< at head
  size_t head = 0;       ///< of what was not given out
  size_t searched = 0;   ///< no separator begins before
  uint64_t sampleAt = 0, sampleLine = 1;
  bool inSample = false, done = false;
  uint64_t held = 0, longest = 0;
};

} // namespace lorac::train
