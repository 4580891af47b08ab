#pragma once
// The files of each method: which tensors an adapted module has, how they are called and shaped,
// what adapter_config.json says, in which words people are told of it. This is the one place:
// PEFT's folder, exports, checkpoints, plans, the spec's keys, counts and messages go by it.

#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace lorac::formats {

/// The tensors that a module's adapter may have: each is a row of `partLayouts`, in this order.
enum class AdapterPart { A, B, E, Magnitude, Gate };

enum class PartShape { RankIn, OutRank, RankOne, Out };
/// What a part is before the first step. A factor of the update must not be Zero, since B is.
enum class PartStart { Random, Zero, One, ByProgram };

struct PartLayout {
  AdapterPart part;
  std::string_view word;   ///< in PEFT's files, in the IR and its plan, in metrics
  std::string_view suffix; ///< behind the word in a tensor's name
  PartShape shape;
  std::string_view sizes; ///< its shape in messages
  PartStart start;
  bool hasRateOfB;        ///< LoRA+; else that of A
  std::string_view words; ///< what people call several, of a method's own part

  /// Which of its sizes is the rank; -1: none, it has a number for each row of the weight.
  constexpr int rankAt() const {
    return shape == PartShape::Out ? -1 : shape == PartShape::OutRank ? 1 : 0;
  }
};
inline constexpr PartLayout partLayouts[] = {
    {AdapterPart::A, "lora_A", ".weight", PartShape::RankIn, "[r, in]", PartStart::Random, false,
     ""},
    {AdapterPart::B, "lora_B", ".weight", PartShape::OutRank, "[out, r]", PartStart::Zero, true,
     ""},
    {AdapterPart::E, "lora_E", ".weight", PartShape::RankOne, "[r, 1]", PartStart::Zero, false,
     "triplets"},
    {AdapterPart::Magnitude, "lora_magnitude_vector", "", PartShape::Out, "[out]",
     PartStart::ByProgram, true, "magnitudes"},
    {AdapterPart::Gate, "lora_gate", "", PartShape::Out, "[out]", PartStart::One, false, "gates"},
};
constexpr int adapterParts = std::size(partLayouts);
constexpr const PartLayout &layoutOf(AdapterPart part) { return partLayouts[int(part)]; }
static_assert([] {
  for (int i = 0; i < adapterParts; ++i)
    if (partLayouts[i].part != AdapterPart(i))
      return false;
  return true;
}());

constexpr std::string_view toString(AdapterPart part) { return layoutOf(part).word; }
constexpr std::optional<AdapterPart> parseAdapterPart(std::string_view word) {
  for (const PartLayout &layout : partLayouts)
    if (layout.word == word)
      return layout.part;
  return std::nullopt;
}
inline std::vector<int64_t> shapeOf(AdapterPart part, int64_t rank, int64_t in, int64_t out) {
  const PartShape shape = layoutOf(part).shape;
  if (shape == PartShape::Out)
    return {out};
  if (shape == PartShape::OutRank)
    return {out, rank};
  return {rank, shape == PartShape::RankOne ? 1 : in};
}

/// How PEFT takes a folder, in its model card.
inline constexpr std::string_view usedByPeft =
    "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
    "base = AutoModelForCausalLM.from_pretrained(BASE)  # the model named above, in Hugging Face's "
    "format\nmodel = PeftModel.from_pretrained(base, \"path/to/this/folder\")\n```";

struct AdapterLayout {
  std::string_view word;     ///< of its file in compiler/methods
  std::string_view name;     ///< for people
  const char *key = nullptr; ///< of [adapter] that asks for it; null: `method` does
  std::string_view peftType; ///< adapter_config.json's peft_type
  std::string_view peftKey;  ///< what is true there beside it; "": the type says it all
  /// lora_A, lora_B and perhaps one of its own; in a file they lie in the order of their names.
  std::span<const AdapterPart> parts;
  bool isBare = false;      ///< in its files names end with the part's word
  bool foldsToLora = false; ///< lora_A and lora_B can say it all: a GGUF and AdaLoRA have it too
  std::string_view use = usedByPeft; ///< how others take its folder, in the model card

  constexpr const PartLayout *own() const {
    return parts.size() > 2 ? &layoutOf(parts[2]) : nullptr;
  }
};

inline constexpr AdapterPart adaLoraParts[] = {AdapterPart::A, AdapterPart::B, AdapterPart::E};
inline constexpr AdapterPart doraParts[] = {AdapterPart::A, AdapterPart::B, AdapterPart::Magnitude};
inline constexpr AdapterPart gatedParts[] = {AdapterPart::A, AdapterPart::B, AdapterPart::Gate};

inline constexpr AdapterLayout loraLayout{.word = "lora",
                                          .name = "LoRA",
                                          .peftType = "LORA",
                                          .parts = std::span(doraParts).first(2),
                                          .foldsToLora = true};
inline constexpr AdapterLayout adaLoraLayout{.word = "adalora",
                                             .name = "AdaLoRA",
                                             .peftType = "ADALORA",
                                             .parts = adaLoraParts,
                                             .isBare = true,
                                             .foldsToLora = true};
inline constexpr AdapterLayout doraLayout{.word = "dora",
                                          .name = "DoRA",
                                          .key = "use_dora",
                                          .peftType = "LORA",
                                          .peftKey = "use_dora",
                                          .parts = doraParts};
inline constexpr AdapterLayout gatedLayout{
    .word = "gated",
    .name = "Gated LoRA",
    .key = "use_gate",
    .peftType = "GATED_LORA",
    .parts = gatedParts,
    .use = "PEFT does not know this method: `lorac eval` and `lorac generate` take the folder by "
           "--adapter."};

inline constexpr const AdapterLayout *adapterLayouts[] = {&loraLayout, &adaLoraLayout, &doraLayout,
                                                          &gatedLayout};

/// The method whose own part is there, by `has(part)`; else LoRA.
template <typename Has>
const AdapterLayout &layoutWith(Has has) {
  for (const AdapterLayout *layout : adapterLayouts)
    if (layout->own() && has(layout->own()->part))
      return *layout;
  return loraLayout;
}

} // namespace lorac::formats
