#pragma once
// Values as TOML writes them.

#include "dsl/Spec.h"

#include <string>
#include <string_view>

namespace lorac::dsl {

std::string tomlText(bool value);
std::string tomlText(int64_t value);
std::string tomlText(uint64_t value);
std::string tomlText(double value);
std::string tomlText(std::string_view value);
inline std::string tomlText(const std::string &value) { return tomlText(std::string_view(value)); }
std::string tomlText(const std::vector<Field<std::string>> &values);
std::string tomlText(const std::vector<Field<int64_t>> &values);
std::string tomlText(const ModuleNames &names);
template <class E>
  requires requires { Words<E>::list; }
std::string tomlText(E value) {
  return tomlText(toString(value));
}

} // namespace lorac::dsl
