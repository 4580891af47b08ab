#include "compiler/tools/Output.h"

#include "runtime/Say.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

namespace lorac::tools {
namespace {

bool coloured() {
  const char *none = std::getenv("NO_COLOR");
  const char *terminal = std::getenv("TERM");
  if ((none && *none) || (terminal && std::strcmp(terminal, "dumb") == 0))
    return false;
  return isatty(STDERR_FILENO);
}

} // namespace

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void sayLine(std::string_view text) {
  std::fflush(stdout);
  while (!text.empty() && text.back() == '\n')
    text.remove_suffix(1);
  say(text);
}

void sayError(std::string_view message) {
  sayLine((coloured() ? std::string("\x1b[31merror:\x1b[0m ") : std::string("error: ")) +
          std::string(message));
}

Exit fail(const Error &error) {
  sayError(error.message);
  return error.code;
}

Exit flushOutput() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout))
    return Exit::Done;
  // A reader that has seen enough (`| head`) is no failure of ours to tell.
  if (errno != EPIPE)
    sayError(std::string("cannot write to stdout: ") + std::strerror(errno));
  return Exit::Failed;
}

std::string binaryBytes(double bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  for (; bytes >= 1023.95 && unit < 5; ++unit)
    bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

std::string grouped(long long number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3 + (number < 0 ? 1u : 0u);) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

} // namespace lorac::tools
