#include "runtime/train/data/DataFormat.h"

namespace lorac::train {

std::span<const DataFormat *const> allDataFormats() {
  static constexpr const DataFormat *table[] = {
#define LORAC_DATA_FORMAT(Name, word) &format##Name,
#include "dsl/DataFormats.def"
#undef LORAC_DATA_FORMAT
  };
  return table;
}

const DataFormat *findDataFormat(std::string_view name) {
  for (const DataFormat *format : allDataFormats())
    if (format->name == name)
      return format;
  return nullptr;
}

} // namespace lorac::train
