#include "dsl/Spec.h"

#include <filesystem>

namespace lorac::dsl {

std::string Spec::resolve(const std::string &path) const {
  if (path.empty())
    return path;
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

} // namespace lorac::dsl
