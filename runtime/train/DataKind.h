#pragma once
// What a file that was given as text is by its first bytes.

#include <optional>
#include <string>
#include <string_view>

namespace lorac::train {

/// A kind of file that is no text, with what to do: "a zip archive (or docx, xlsx): …".
std::optional<std::string> binaryKind(std::string_view firstBytes);

/// A kind of text that is seldom meant to be trained on as it stands: "JSON lines: …".
std::optional<std::string> otherTextKind(std::string_view text);

/// The first characters of `text` on one line, in double quotes.
std::string quotedStart(std::string_view text, size_t characters = 60);

} // namespace lorac::train
