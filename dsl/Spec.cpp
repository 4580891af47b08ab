#include "dsl/Spec.h"

#include <filesystem>

namespace lorac::dsl {

std::string_view toString(BaseFormat value) {
  if (const std::optional<formats::FourBit> codebook = codebookOf(value))
    return formats::codebooks[size_t(*codebook)].name;
  return value == BaseFormat::None ? "none" : "keep";
}

std::optional<formats::FourBit> codebookOf(BaseFormat value) {
  switch (value) {
  case BaseFormat::Nf4:
    return formats::FourBit::Nf4;
  case BaseFormat::Fp4:
    return formats::FourBit::Fp4;
  default:
    return std::nullopt;
  }
}

std::string_view toString(ComputeDtype value) {
  static constexpr std::string_view words[] = {"auto", "f32", "bf16", "f16"};
  return words[static_cast<int>(value)];
}

std::string_view toString(AdapterMethod value) {
  return value == AdapterMethod::Lora ? "lora" : "adalora";
}

std::string_view toString(PruneMode value) {
  static constexpr std::string_view words[] = {"mask", "final", "bucketed", "eager"};
  return words[static_cast<int>(value)];
}

std::string_view toString(RebuildMode value) {
  return value == RebuildMode::Auto ? "auto" : "always";
}

std::string_view toString(OptimizerName value) {
  static constexpr std::string_view words[] = {
#define LORAC_OPTIMIZER(Name, word, ...) word,
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
  };
  return words[static_cast<int>(value)];
}

const OptimizerDefaults &defaultsOf(OptimizerName value) {
  static constexpr OptimizerDefaults table[] = {
#define LORAC_OPTIMIZER(Name, word, ...) {__VA_ARGS__},
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
  };
  return table[static_cast<int>(value)];
}

std::string_view toString(ScheduleName value) {
  static constexpr std::string_view words[] = {"constant", "linear", "cosine"};
  return words[static_cast<int>(value)];
}

std::string_view toString(DataFormat value) {
  static constexpr std::string_view words[] = {"text", "jsonl", "tokens", "chat", "alpaca"};
  return words[static_cast<int>(value)];
}

std::string_view toString(Overlong value) {
  static constexpr std::string_view words[] = {"split", "truncate", "error"};
  return words[static_cast<int>(value)];
}

std::string_view toString(Device value) {
  static constexpr std::string_view words[] = {"auto", "cpu", "cuda"};
  return words[static_cast<int>(value)];
}

std::string Spec::resolve(const std::string &path) const {
  if (path.empty())
    return path;
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

} // namespace lorac::dsl
