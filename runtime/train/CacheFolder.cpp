#include "runtime/train/CacheFolder.h"

#include <cstdlib>

namespace lorac::train {

static std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

std::string cacheFolder() {
  if (std::string named = environment("LORAC_CACHE_DIR"); !named.empty())
    return named;
  if (std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty() && xdg[0] == '/')
    return xdg + "/lorac";
  if (std::string home = environment("HOME"); !home.empty())
    return home + "/.cache/lorac";
  return "";
}

} // namespace lorac::train
