#pragma once
// What is fuzzed: a reader of foreign bytes, and how mutated bytes are repaired so that they get
// past its hashes and counts. The same harnesses run under libFuzzer (LibFuzzer.cpp) and in a plain
// driver with mutations of its own (Driver.cpp).

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::fuzz {

using Draw = std::mt19937_64;

struct Harness {
  const char *name;
  /// Reads the bytes, and does with what was read what lorac does. Errors are fine; a crash, a leak
  /// or a hang is not.
  void (*run)(std::string_view bytes);
  /// Changes one thing that means something and mends what counts or hashes it; null: plain
  /// mutations alone. Answers the same bytes where it finds nothing to change.
  std::string (*change)(const std::string &bytes, Draw &draw) = nullptr;
};

const std::vector<Harness> &harnesses();
/// Null: none of that name.
const Harness *findHarness(std::string_view name);

/// By folder of lorac; each list of one file.
std::vector<Harness> formatHarnesses();
std::vector<Harness> tokenizerHarnesses();
std::vector<Harness> trainHarnesses();
std::vector<Harness> specHarnesses();

/// A folder of this process, in memory, that goes at its end. The text names a path in it.
std::string scratch(std::string_view name);
void writeScratch(std::string_view name, std::string_view bytes);

/// Inputs of several files: before each but the last its length as 8 decimal digits. Always `count`
/// parts.
std::vector<std::string> partsOf(std::string_view bytes, size_t count);
std::string joinParts(const std::vector<std::string> &parts);

// Changes that mean something (Change*.cpp).

/// One number, word or text of a JSON document becomes another, or a member goes or comes twice.
std::string changeJson(const std::string &bytes, Draw &draw);
/// Of a safetensors file: its JSON header, with the header's length right again.
std::string changeSafetensors(const std::string &bytes, Draw &draw);
/// Of a GGUF file: a key or tensor goes, comes twice, moves or changes; the counts are right again.
std::string changeGguf(const std::string &bytes, Draw &draw);
/// Of a train binary's payload: table, footer or a file; all hashes are right again.
std::string changePayload(const std::string &bytes, Draw &draw);
/// Bytes flipped, taken out, doubled, overwritten by numbers at the edge.
std::string changeBytes(const std::string &bytes, Draw &draw);

} // namespace lorac::fuzz
