#pragma once
// How the tensors of an adapted module lie in files, by method: what they are called, which are
// there, in which shape. Readers and writers of PEFT's folder, checkpoints and plans go by it.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace lorac::formats {

/// The tensors that a module's adapter may have.
enum class AdapterPart { A, B, E, Magnitude, Gate };
constexpr int adapterParts = 5;

/// lora_A, lora_B, lora_E, lora_magnitude_vector, lora_gate: in PEFT's files, plans, metrics.
std::string_view toString(AdapterPart part);
std::optional<AdapterPart> parseAdapterPart(std::string_view word);

/// In PEFT's file: [rank, in], [out, rank], [rank, 1], [out], [out].
std::vector<int64_t> shapeOf(AdapterPart part, int64_t rank, int64_t in, int64_t out);

struct PartLayout {
  AdapterPart part;
  std::string_view suffix; ///< behind the part's word
};

/// `base_model.model.<module>.<part><suffix>` for each part, in the order of their names.
struct AdapterLayout {
  std::string_view peftType; ///< in adapter_config.json
  std::span<const PartLayout> parts;
};
extern const AdapterLayout loraLayout, doraLayout, gatedLayout, adaLoraLayout;

} // namespace lorac::formats
