#include "dsl/Spec.h"

#include <filesystem>

namespace lorac::dsl {

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

std::string Spec::resolve(const std::string &path) const {
  if (path.empty())
    return path;
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

} // namespace lorac::dsl
