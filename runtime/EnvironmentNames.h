#pragma once
// LORAC_… variables that lorac and its programs read; docs/cli.md says what for. Those of spec keys
// are read by the compiler alone.

#include <string_view>

namespace lorac {

inline constexpr std::string_view environmentPrefix = "LORAC_";
inline constexpr std::string_view environmentNames[] = {"CACHE_DIR", "TRAIN",      "LLD",
                                                        "LIBCUDA",   "CUDA_SYNC",  "NVRTC",
                                                        "NVDISASM",  "CUDA_TOOLS", "SAVE_WAIT"};
inline constexpr std::string_view testEnvironmentPrefix = "LORAC_TEST_";

} // namespace lorac
