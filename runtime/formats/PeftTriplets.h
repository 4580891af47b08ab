#pragma once
// AdaLoRA's triplets in a file of PEFT's.

#include "runtime/formats/Adapter.h"
#include "runtime/formats/PeftConfig.h"
#include "runtime/formats/Safetensors.h"

#include <string>
#include <string_view>

namespace lorac::formats {

/// Splits `[base_model.model.]<module>.<part>[.<adapter>][.weight]`, `part` one of lora_A, lora_B,
/// lora_E, ranknum. PEFT saves the first two words alone; a state_dict has an adapter's name too.
/// False: some other name.
bool splitTripletName(std::string_view name, std::string &module, std::string_view &part);

/// Whether a file without adapter_config.json is AdaLoRA's: it has a lora_E.
bool hasTriplets(const Safetensors &file);

/// A tensor's values; one that is not finite is an error that names it and the place.
Result<std::vector<float>> finiteFloats(const Safetensors &file, const TensorInfo &tensor);

/// The adapter of `config`, with the modules of the file. `configPath` empty: a file alone.
Result<Adapter> readTriplets(const Safetensors &file, PeftConfig config,
                             const std::string &configPath);

} // namespace lorac::formats
