#pragma once
// LoRA's factors in a file of PEFT's, with DoRA's magnitudes.

#include "runtime/formats/Adapter.h"
#include "runtime/formats/PeftConfig.h"
#include "runtime/formats/Safetensors.h"

#include <string>
#include <string_view>

namespace lorac::formats {

/// Splits `base_model.model.<module>.<part>[.default][.weight]`, `part` one of DoRA's: a state_dict
/// has `.default` before, and `.weight` behind a magnitude too, where PEFT saves it without. False:
/// some other name.
bool splitFactorName(std::string_view name, std::string &module, AdapterPart &part);

/// The adapter of `config`, with the modules of the file. `configPath` empty: a file alone, which
/// is DoRA's where it has magnitudes.
Result<Adapter> readFactors(const Safetensors &file, PeftConfig config,
                            const std::string &configPath);

} // namespace lorac::formats
