#pragma once
// Where words go: results to stdout, everything else to stderr.

#include "runtime/Result.h"

#include <string>
#include <string_view>

namespace lorac::tools {

/// A result. What cannot be written (a closed pipe, a full disk) is found by `flushOutput`.
void print(std::string_view text);
/// One line of words on stderr; a newline is added.
void sayLine(std::string_view text);
/// "error: message" on stderr, in red on a terminal that wants colours.
void sayError(std::string_view message);
/// Says the error and gives its code.
Exit fail(const Error &error);

/// Writes out what is buffered; Failed when stdout does not take it.
Exit flushOutput();

/// 1536 as "1.5 KiB".
std::string binaryBytes(double bytes);
/// 12345 as "12,345".
std::string grouped(long long number);

} // namespace lorac::tools
