// Features of this machine against those that the kernels were built for: a missing one would end
// in SIGILL.
#include "runtime/train/Plan.h"

namespace lorac::train {

namespace {

enum class Known { Yes, No, Unknown };

Known cpuHas(const std::string &feature) {
#if defined(__x86_64__)
  __builtin_cpu_init();
#define FEATURE(name, builtin)                                                                     \
  if (feature == name)                                                                             \
    return __builtin_cpu_supports(builtin) ? Known::Yes : Known::No;
  FEATURE("sse3", "sse3")
  FEATURE("ssse3", "ssse3")
  FEATURE("sse4.1", "sse4.1")
  FEATURE("sse4.2", "sse4.2")
  FEATURE("popcnt", "popcnt")
  FEATURE("avx", "avx")
  FEATURE("avx2", "avx2")
  FEATURE("fma", "fma")
  FEATURE("bmi", "bmi")
  FEATURE("bmi2", "bmi2")
  FEATURE("avx512f", "avx512f")
  FEATURE("avx512vl", "avx512vl")
  FEATURE("avx512bw", "avx512bw")
  FEATURE("avx512dq", "avx512dq")
  FEATURE("avx512cd", "avx512cd")
  FEATURE("avx512vnni", "avx512vnni")
  FEATURE("avx512bf16", "avx512bf16")
#if !defined(__clang__) // before 17 it knows no such names; it builds only what is fuzzed
  FEATURE("f16c", "f16c")
  FEATURE("lzcnt", "lzcnt")
  FEATURE("movbe", "movbe")
#endif
#undef FEATURE
  if (feature == "sse" || feature == "sse2" || feature == "fxsr" || feature == "cx8" ||
      feature == "cmov" || feature == "mmx")
    return Known::Yes; // part of x86-64
#endif
  return Known::Unknown;
}

} // namespace

Result<void> checkCpu(const Plan &plan) {
  if (plan.device != "cpu")
    return Error{"the program was compiled for '" + plan.device +
                     "', this binary runs on cpu; compile with --target cpu",
                 Exit::Refused};
  std::string missing, unknown;
  for (const std::string &feature : plan.features) {
    Known known = cpuHas(feature);
    if (known == Known::No)
      missing += (missing.empty() ? "" : ", ") + feature;
    if (known == Known::Unknown)
      unknown += (unknown.empty() ? "" : ", ") + feature;
  }
  if (!missing.empty())
    return Error{"this CPU lacks " + missing + ", which the kernels were compiled for (" +
                     plan.cpu + "); compile on this machine, or with --cpu x86-64 for any",
                 Exit::Failed};
  if (!unknown.empty())
    return Error{"the kernels need '" + unknown +
                     "', which this program cannot check for; compile with "
                     "a --cpu this version knows, or with --cpu x86-64",
                 Exit::Failed};
  return {};
}

} // namespace lorac::train
