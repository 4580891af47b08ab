#include "runtime/train/PlanCheck.h"

namespace lorac::train {

namespace {

/// Bytes from a buffer's start that the kernel goes to.
__int128 reach(const PlanBuffer &buffer, const PlanLaunch &launch, const Plan &plan) {
  auto value = [&](const LaunchSize &size) -> __int128 {
    switch (size.kind) {
    case LaunchSize::Rows:
      return launch.rowCount;
    case LaunchSize::Starts:
      return plan.maxSegments + 1;
    case LaunchSize::Cached:
      return plan.maxSegments * plan.cachedPositions();
    case LaunchSize::Scalar:
      return launch.scalars[size_t(size.value)];
    default:
      return size.value;
    }
  };
  const __int128 outer = value(buffer.outer);
  return outer == 0 ? 0
                    : ((outer - 1) * value(buffer.stride) + value(buffer.columns)) * buffer.element;
}

/// Tiles of a launch over all its rows; those of a sample where they are counted by samples.
int64_t tilesOf(const PlanKernel &kernel, const PlanLaunch &launch) {
  return kernel.tiles.space == PlanTiles::Rows
             ? (launch.rowCount + kernel.tiles.tile - 1) / kernel.tiles.tile
             : kernel.tiles.count;
}

/// A cache's part lies inside the region of caches, and the kernel is told its positions.
void checkCache(const Fields &in, const PlanLaunch &launch, const Plan &plan) {
  const PlanKernel &kernel = plan.kernels[size_t(launch.kernel)];
  const PlanRegion &cache = plan.region(RegionKind::KvCache);
  for (size_t i = 0; i < launch.args.size(); ++i) {
    const PlanBuffer &buffer = kernel.buffers[i];
    if (buffer.outer.kind != LaunchSize::Cached)
      continue;
    if (launch.scalars.size() != 1 || launch.scalars[0] != plan.cachedPositions())
      return in.fail("tells '" + kernel.name + "' other than the " +
                     std::to_string(plan.cachedPositions()) + " positions of a sequence's cache");
    const int64_t begin = launch.args[i].offset - cache.offset;
    if (begin < 0 || begin + reach(buffer, launch, plan) > cache.bytes())
      return in.fail("has args[" + std::to_string(i) + "] at " +
                     std::to_string(launch.args[i].offset) + ", outside of the region of kv_cache");
  }
}

/// An argument that is a table, of so many entries.
struct TableOfFamily {
  const char *family;
  size_t arg;
  const char *key; ///< in `io`
  int64_t offset, entries, bytes;
};

std::vector<TableOfFamily> tablesOf(const Plan &plan) {
  const auto spans = int64_t(plan.spans().size());
  const int64_t modules = plan.hasTriplets() ? int64_t(plan.ranks->modules.size()) : 0;
  std::vector<TableOfFamily> tables;
  for (const char *family : {"each", "sum_spans"})
    tables.push_back({family, 0, "update_spans", plan.io.updateSpans, spans, sizeof(PlanSpan)});
  for (const char *family :
       {"fold_triplets", "unfold_triplets", "unfold_gradients", "triplet_scores", "triplet_zeros"})
    tables.push_back({family, 0, "triplets", plan.io.triplets, modules, 0});
  tables.push_back({"triplet_scores", 3, "triplet_scores", plan.io.tripletScores, modules, 0});
  tables.push_back({"triplet_zeros", 1, "triplet_states", plan.io.tripletStates, modules, 0});
  if (plan.hasCodes())
    tables.push_back({"triplet_zeros", 2, "triplet_owns", plan.io.tripletOwns, modules, 0});
  return tables;
}

} // namespace

void checkLaunch(const Fields &in, const PlanLaunch &launch, const Plan &plan) {
  const PlanKernel &kernel = plan.kernels[size_t(launch.kernel)];
  auto count = [](size_t n, const char *what) { return std::to_string(n) + " " + what; };
  if (launch.args.size() != kernel.buffers.size() ||
      launch.scalars.size() != kernel.mostScalar.size())
    return in.fail("has " + count(launch.args.size(), "args") + " and " +
                   count(launch.scalars.size(), "scalars") + ", its kernel '" + kernel.name +
                   "' takes " + count(kernel.buffers.size(), "and") + " " +
                   std::to_string(kernel.mostScalar.size()));
  for (size_t i = 0; i < launch.scalars.size(); ++i)
    if (kernel.mostScalar[i] > 0 && launch.scalars[i] > kernel.mostScalar[i])
      return in.fail("has the scalar " + std::to_string(launch.scalars[i]) + ", its kernel '" +
                     kernel.name + "' takes at most " + std::to_string(kernel.mostScalar[i]));
  for (size_t i = 0; i < launch.args.size(); ++i) {
    const PlanArg &arg = launch.args[i];
    const PlanBuffer &buffer = kernel.buffers[i];
    const std::string place = "has args[" + std::to_string(i) + "] ";
    if ((arg.weight >= 0) != (buffer.weightBytes >= 0))
      return in.fail(place + "of another kind than its kernel '" + kernel.name + "' takes");
    if (arg.weight >= 0) {
      const int64_t bytes = plan.weights[size_t(arg.weight)].parts[size_t(arg.part)].bytes;
      if (bytes != buffer.weightBytes)
        return in.fail(place + "of " + std::to_string(bytes) + " bytes, its kernel '" +
                       kernel.name + "' takes " + std::to_string(buffer.weightBytes));
    } else if (buffer.element > 0 && (arg.offset % buffer.element != 0 ||
                                      reach(buffer, launch, plan) > plan.arenaBytes - arg.offset)) {
      return in.fail(place + "at " + std::to_string(arg.offset) + ", from where its kernel '" +
                     kernel.name + "' goes beyond the arena of " + std::to_string(plan.arenaBytes) +
                     " bytes");
    }
  }
  checkCache(in, launch, plan);
  if (const int64_t made = tilesOf(kernel, launch); !plan.onGpu() && launch.tiles != made)
    in.fail("has " + std::to_string(launch.tiles) + " tiles, its kernel '" + kernel.name +
            "' makes " + std::to_string(made));
}

void checkTables(const Fields &programs, const Plan &plan) {
  const std::vector<TableOfFamily> tables = tablesOf(plan);
  for (const ProgramOfPlan &program : programsOfPlan)
    for (const PlanLaunch &launch : plan.*program.launches) {
      const PlanKernel &kernel = plan.kernels[size_t(launch.kernel)];
      for (const TableOfFamily &table : tables) {
        if (kernel.family != table.family)
          continue;
        // Of spans a launch may take some: from an entry on.
        const int64_t from = table.arg < launch.args.size() && launch.args[table.arg].weight < 0
                                 ? launch.args[table.arg].offset - table.offset
                                 : -1;
        const int64_t first = table.bytes > 0 ? from / table.bytes : 0,
                      last = first + launch.rowBegin + launch.rowCount;
        const std::string what = std::string("has a launch of '") + program.name + "' ";
        if (from < 0 || from != first * table.bytes || first >= table.entries)
          programs.fail(what + "in which '" + kernel.name + "' has another args[" +
                        std::to_string(table.arg) + "] than 'io." + table.key + "'");
        else if (last > table.entries)
          programs.fail(what + "over " + std::to_string(last) + " of " +
                        std::to_string(table.entries) + " in 'io." + table.key + "'");
      }
    }
}

} // namespace lorac::train
