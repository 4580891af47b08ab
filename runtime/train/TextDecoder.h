#pragma once
// The bytes of a data file as the text that an editor shows: well-formed UTF-8 whose lines end with
// LF.
// - A byte order mark is left out. UTF-16, told by its mark, becomes UTF-8; UTF-32 is refused by
//   name.
// - Line ends CRLF and CR become LF.
// - Bytes that are none of this are refused with line and column.

#include "runtime/Result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace lorac::train {

/// Decodes a file part by part. The errors end a message that names the file: "is not UTF-8 …".
class TextDecoder {
public:
  /// Appends the text of the next bytes; what a part cuts through waits for the next one.
  Result<void> push(std::string_view bytes, std::string &out);
  /// After the last part.
  Result<void> finish(std::string &out);

  bool wasUtf16() const { return kind == Kind::Utf16Little || kind == Kind::Utf16Big; }
  /// Whether some line ended with CRLF or CR.
  bool hadCarriageReturns() const { return sawCr; }

private:
  enum class Kind { Unknown, Utf8, Utf16Little, Utf16Big };

  Result<void> recognise(bool atEnd);
  Result<void> decode(bool atEnd, std::string &out);
  Result<void> decodeUtf16(bool atEnd);
  void append(std::string_view text, std::string &out);
  /// Line and column behind `text`, which follows what has been given out.
  std::string place(std::string_view text) const;

  Kind kind = Kind::Unknown;
  std::string waiting; ///< bytes not decoded yet
  std::string units;   ///< UTF-8 of UTF-16, before its line ends are read
  bool sawCr = false, skipLf = false;
  uint64_t line = 1, column = 1; ///< of the next character
};

/// `separator` as it stands in decoded text.
std::string decodedSeparator(const std::string &separator);

} // namespace lorac::train
