#pragma once
// LoRA's factors in a file of PEFT's, with DoRA's magnitudes or gated LoRA's gates.

#include "runtime/formats/Adapter.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/PeftConfig.h"
#include "runtime/formats/Safetensors.h"

#include <map>
#include <string>
#include <string_view>

namespace lorac::formats {

/// Splits `base_model.model.<module>.<part>[.default][.weight]`, `part` one of LoRA's, DoRA's or
/// gated LoRA's: a state_dict has `.default` before, and `.weight` behind a magnitude too, where
/// PEFT saves it without. False: some other name.
bool splitFactorName(std::string_view name, std::string &module, AdapterPart &part);

/// A file's tensors by their modules. `slotOf(name, modules)` is where the tensor of a name goes;
/// null: it is none of `what`.
template <typename Parts, typename SlotOf>
Result<std::map<std::string, Parts>> sortParts(const Safetensors &file, SlotOf slotOf,
                                               std::string_view what) {
  std::map<std::string, Parts> modules;
  for (const TensorInfo &tensor : file.tensors()) {
    const TensorInfo **slot = slotOf(tensor.name, modules);
    if (!slot || *slot)
      return Error{"'" + file.path() + "': tensor '" + shown(tensor.name) + "' " +
                       (slot ? "stands twice under two names" : std::string(what)),
                   Exit::ForeignFile};
    *slot = &tensor;
  }
  return modules;
}

/// The adapter of `config`, with the modules of the file. `configPath` empty: a file alone, which
/// is DoRA's where it has magnitudes, gated LoRA's where it has gates.
Result<Adapter> readFactors(const Safetensors &file, PeftConfig config,
                            const std::string &configPath);

} // namespace lorac::formats
