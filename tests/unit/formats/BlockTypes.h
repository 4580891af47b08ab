#pragma once
// The types of tensors that are read, one after another.

#include "runtime/formats/Blocks.h"

#include <gtest/gtest.h>

#include <string>

namespace lorac::formats {

/// Calls `body(type, info)` for each, floats too. That none is left out is a check of its own.
template <typename Body>
void forEachBlockType(const Body &body) {
  std::string seen;
  for (uint32_t number = 0; number < 64; ++number) {
    const GgmlTypeInfo *info = ggmlTypeInfo(number);
    if (!info || !info->kept)
      continue;
    SCOPED_TRACE(info->name);
    seen += (seen.empty() ? "" : ", ") + std::string(info->name);
    body(GgmlType(number), *info);
  }
  EXPECT_EQ(seen, readableGgmlTypes());
  EXPECT_TRUE(seen.starts_with("F32, F16, Q4_0, ")) << seen;
}

} // namespace lorac::formats
