// libFuzzer's entry: the harness that LORAC_HARNESS names. Every second mutation is one that means
// something.
#include "tests/reliability/fuzz/Harness.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace lorac::fuzz;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

static const Harness &chosen() {
  static const Harness *const harness = [] {
    const char *name = std::getenv("LORAC_HARNESS");
    const Harness *found = name ? findHarness(name) : nullptr;
    if (!found) {
      std::fprintf(stderr, "LORAC_HARNESS names one of:");
      for (const Harness &known : harnesses())
        std::fprintf(stderr, " %s", known.name);
      std::fprintf(stderr, "\n");
      std::exit(2);
    }
    return found;
  }();
  return *harness;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  chosen().run({reinterpret_cast<const char *>(data), size});
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  Draw draw(seed);
  if (!chosen().change || draw() % 2)
    return LLVMFuzzerMutate(data, size, most);
  const std::string changed = chosen().change({reinterpret_cast<const char *>(data), size}, draw);
  if (changed.size() > most ||
      changed == std::string_view(reinterpret_cast<const char *>(data), size))
    return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}
