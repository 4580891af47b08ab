#include "runtime/train/StopText.h"

#include <algorithm>
#include <utility>

namespace lorac::train {

std::string StopText::push(std::string_view more) {
  if (isFound)
    return "";
  held += more;
  size_t first = std::string::npos;
  for (const std::string &stop : stops)
    first = std::min(first, held.find(stop));
  isFound = first != std::string::npos;
  size_t certain = isFound ? first : held.size();
  if (!isFound)
    for (const std::string &stop : stops)
      for (size_t begin = held.size() - std::min(held.size(), stop.size() - 1); begin < certain;
           ++begin)
        if (std::string_view(held).substr(begin) ==
            std::string_view(stop).substr(0, held.size() - begin))
          certain = begin;
  std::string out = held.substr(0, certain);
  held.erase(0, certain);
  return out;
}

std::string StopText::finish() { return isFound ? "" : std::exchange(held, ""); }

} // namespace lorac::train
