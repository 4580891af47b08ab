#include "compiler/codegen/cpu/Target.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace llvm;
using namespace lorac::cpu;

// The features that kernels gain from and that the runtime can check for; others stay off.
static constexpr StringRef usedFeatures[] = {
    "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt",  "avx",      "avx2",     "fma",      "f16c",
    "bmi",  "bmi2",  "lzcnt",  "movbe",  "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"};

Expected<CpuTarget> CpuTarget::get(StringRef name) {
  CpuTarget target;
  StringSet<> present;
  if (name == "native") {
    target.cpu = sys::getHostCPUName().str();
    for (const auto &feature : sys::getHostCPUFeatures())
      if (feature.second)
        present.insert(feature.first());
  } else {
    if (X86::parseArchX86(name, /*Only64Bit=*/true) == X86::CK_None) {
      SmallVector<StringRef> known;
      X86::fillValidCPUArchList(known, /*Only64Bit=*/true);
      StringRef nearest = "native";
      for (StringRef candidate : known)
        if (name.edit_distance(candidate) < name.edit_distance(nearest))
          nearest = candidate;
      return createStringError("no CPU is named '" + name + "'; did you mean '" + nearest + "'?");
    }
    target.cpu = name.str();
    SmallVector<StringRef> features;
    X86::getFeaturesForCPU(name, features);
    StringMap<bool> implied; // the list of x86-64-v4 leaves out what avx512vl implies
    for (StringRef feature : features) {
      implied[feature] = true;
      X86::updateImpliedFeatures(feature, /*Enabled=*/true, implied);
    }
    for (const auto &feature : implied)
      present.insert(feature.first());
  }
  SmallVector<std::string> used;
  for (StringRef feature : usedFeatures)
    if (present.contains(feature))
      used.push_back("+" + feature.str());
  target.features = join(used, ",");
  target.fma = present.contains("fma");
  target.f16c = present.contains("f16c");
  target.avx2 = present.contains("avx2") && target.fma && target.f16c;
  target.avx512 =
      target.avx2 && all_of(ArrayRef<StringRef>{"avx512f", "avx512bw", "avx512dq", "avx512vl"},
                            [&](StringRef feature) { return present.contains(feature); });
  target.vectorLanes = target.avx2 ? 8 : 4;
  return target;
}

std::vector<std::string> CpuTarget::featureNames() const {
  std::vector<std::string> names;
  SmallVector<StringRef> parts;
  StringRef(features).split(parts, ',', -1, /*KeepEmpty=*/false);
  for (StringRef part : parts)
    names.push_back(part.drop_front().str());
  return names;
}
