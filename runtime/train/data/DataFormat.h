#pragma once
// A format of [[data]]: how its files become samples. One file each in this folder, and its line in
// dsl/DataFormats.def.

#include "runtime/Result.h"

#include <span>
#include <string>
#include <string_view>

namespace lorac::train {

class SampleSink;

struct DataFormat {
  const char *name; ///< its word in a spec
  /// Gives the samples of a file to the sink, in order.
  Result<void> (*load)(const std::string &path, SampleSink &sink);
  /// Of JSON lines: the strings that each object must have.
  std::span<const char *const> keys{};
  bool takesLists = false; ///< whole files that are one list of such objects
};

#define LORAC_DATA_FORMAT(Name, word) extern const DataFormat format##Name;
#include "dsl/DataFormats.def"
#undef LORAC_DATA_FORMAT

std::span<const DataFormat *const> allDataFormats();
/// Null if none has this name.
const DataFormat *findDataFormat(std::string_view name);

} // namespace lorac::train
