#include "compiler/tools/MemoryLimit.h"

#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"

#include <algorithm>
#include <functional>

namespace lorac::tools {
namespace {

using SetValue = std::function<void(Project &, int64_t)>;

/// Plans of one project with a setting changed.
class Search {
public:
  Search(const Project &project, const CompileSettings &settings, uint64_t needed)
      : project(project), settings(settings), needed(needed) {
    const uint64_t limit = *project.spec.target.memory;
    room = limit > settings.otherMemory ? double(limit - settings.otherMemory) : 0;
  }

  /// A value in [low, now) whose least plan fits, a multiple of `low`. Each unit takes about as
  /// many bytes as the next, so the plan of `low` says where to look.
  std::optional<int64_t> below(int64_t now, int64_t low, const SetValue &set) const {
    const std::optional<double> least = now > low ? needs(low, set) : std::nullopt;
    if (!least || *least > room)
      return std::nullopt;
    double slope = (double(needed) - *least) / double(now - low);
    for (int tries = 0; tries < 4; ++tries, slope *= 1.05) {
      int64_t guess = low + int64_t((room - *least) / std::max(slope, 1.0));
      guess = std::min(guess, now - 1) / low * low;
      if (guess <= low)
        break;
      if (const std::optional<double> bytes = needs(guess, set); bytes && *bytes <= room)
        return guess;
    }
    return low;
  }

  bool fits(const std::function<void(Project &)> &change) const {
    Project other = project;
    change(other);
    const std::optional<uint64_t> bytes = leastMemory(other, settings);
    return bytes && double(*bytes) <= room;
  }

private:
  const Project &project;
  const CompileSettings &settings;
  uint64_t needed;
  double room;

  std::optional<double> needs(int64_t value, const SetValue &set) const {
    Project other = project;
    set(other, value);
    return leastMemory(other, settings);
  }
};

} // namespace

std::vector<std::string> settingsThatFit(const Project &project, const CompileSettings &settings,
                                         uint64_t needed) {
  const dsl::Spec &spec = project.spec;
  const Search search(project, settings, needed);
  std::vector<std::string> fits;
  auto offer = [&](const char *key, const std::optional<int64_t> &value) {
    if (value)
      fits.push_back(std::string(key) + " = " + std::to_string(*value));
  };
  offer("batch_size", search.below(*spec.train.batchSize, 1, [](Project &other, int64_t value) {
    other.spec.train.batchSize.value = value;
  }));
  offer("max_length", search.below(*spec.train.maxLength, 16, [](Project &other, int64_t value) {
    other.spec.train.maxLength.value = value;
  }));
  // Where a rule says another rank, adapter.r is not the only one.
  const bool oneRank =
      !project.ranks &&
      std::all_of(project.adapters.begin(), project.adapters.end(),
                  [&](const dsl::AdapterChoice &choice) { return choice.r == *spec.adapter.r; });
  if (oneRank)
    offer("r", search.below(*spec.adapter.r, 1, [](Project &other, int64_t value) {
      for (dsl::AdapterChoice &choice : other.adapters)
        choice.r = value;
    }));
  for (dsl::BaseFormat format : {dsl::BaseFormat::Keep, dsl::BaseFormat::Nf4}) {
    const dsl::BaseFormat now = *spec.quantization.format;
    const bool isSmaller = now == dsl::BaseFormat::None ||
                           (now == dsl::BaseFormat::Keep && format == dsl::BaseFormat::Nf4);
    if (isSmaller &&
        search.fits([&](Project &other) { other.spec.quantization.format.value = format; })) {
      fits.push_back("quantization.format = \"" + std::string(dsl::toString(format)) + "\"");
      break;
    }
  }
  return fits;
}

Exit sayDoesNotFit(const Project &project, const CompileSettings &settings, uint64_t needed) {
  const auto &limit = project.spec.target.memory;
  const uint64_t all = needed + settings.otherMemory;
  const int workers = workersOf(project, settings);
  std::string text = "the plan needs at least " + binaryBytes(double(all));
  text += workers ? " on " + std::to_string(workers) + " threads" : " of a GPU's memory";
  text += ", " + binaryBytes(double(all - *limit)) +
          " more than memory = " + binaryBytes(double(*limit));
  const std::vector<std::string> fits = settingsThatFit(project, settings, needed);
  text += fits.empty() ? "; no other batch_size, max_length, r or format alone makes it fit"
                       : "; it fits with ";
  for (size_t i = 0; i < fits.size(); ++i)
    text += (i == 0 ? "" : i + 1 == fits.size() ? ", or " : ", ") + fits[i];
  dsl::Diagnostics diags;
  diags.error(limit.range, text);
  sayLine(diags.text());
  return Exit::DoesNotFit;
}

} // namespace lorac::tools
