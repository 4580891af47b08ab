#include "runtime/formats/AdapterLayout.h"

namespace lorac::formats {
namespace {

constexpr std::string_view words[adapterParts] = {"lora_A", "lora_B", "lora_E",
                                                  "lora_magnitude_vector", "lora_gate"};

constexpr PartLayout doraParts[] = {
    {AdapterPart::A, ".weight"}, {AdapterPart::B, ".weight"}, {AdapterPart::Magnitude, ""}};
constexpr PartLayout gatedParts[] = {
    {AdapterPart::A, ".weight"}, {AdapterPart::B, ".weight"}, {AdapterPart::Gate, ""}};
constexpr PartLayout adaLoraParts[] = {
    {AdapterPart::A, ""}, {AdapterPart::B, ""}, {AdapterPart::E, ""}};

} // namespace

constinit const AdapterLayout loraLayout{"LORA", std::span(doraParts).first(2)},
    doraLayout{"LORA", doraParts}, gatedLayout{"GATED_LORA", gatedParts},
    adaLoraLayout{"ADALORA", adaLoraParts};

std::string_view toString(AdapterPart part) { return words[static_cast<int>(part)]; }

std::optional<AdapterPart> parseAdapterPart(std::string_view word) {
  for (int part = 0; part < adapterParts; ++part)
    if (words[part] == word)
      return static_cast<AdapterPart>(part);
  return std::nullopt;
}

std::vector<int64_t> shapeOf(AdapterPart part, int64_t rank, int64_t in, int64_t out) {
  switch (part) {
  case AdapterPart::A:
    return {rank, in};
  case AdapterPart::B:
    return {out, rank};
  case AdapterPart::E:
    return {rank, 1};
  case AdapterPart::Magnitude:
  case AdapterPart::Gate:
    return {out};
  }
  return {};
}

} // namespace lorac::formats
