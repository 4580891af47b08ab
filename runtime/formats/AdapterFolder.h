#pragma once
// A folder that holds an adapter in PEFT's layout and nothing else.

#include "runtime/formats/Adapter.h"

#include <map>
#include <string>

namespace lorac::formats {

/// writePeftAdapter or writePeftAdaLora.
using AdapterWriter = Result<void> (*)(const std::string &folder, const Adapter &adapter,
                                       std::map<std::string, std::string> *hashes);

/// The adapter and a manifest.json as the folder `path`, whole or not at all, in the place of what
/// has the name: no new weights beside an old configuration. It is read back before it takes its
/// name.
Result<void> writeAdapterFolder(const std::string &path, const Adapter &adapter,
                                AdapterWriter write = writePeftAdapter);

} // namespace lorac::formats
