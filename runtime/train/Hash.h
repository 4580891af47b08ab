#pragma once
// The trainer's name for the hash of files and parts.

#include "runtime/formats/Hash.h"

namespace lorac::train {

using formats::Hasher;
using formats::hashFile;
using formats::hashHex;

} // namespace lorac::train
