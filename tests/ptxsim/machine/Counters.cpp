#include "tests/ptxsim/machine/Counters.h"
#include "tests/ptxsim/machine/AddressSpace.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace ptxsim {
namespace {

struct Field {
  const char *name;
  uint64_t TrafficCounters::*value;
};

constexpr Field fields[] = {
    {"warp_instructions", &TrafficCounters::warpInstructions},
    {"lane_instructions", &TrafficCounters::laneInstructions},
    {"mma", &TrafficCounters::mma},
    {"ldmatrix", &TrafficCounters::ldmatrix},
    {"global_loads", &TrafficCounters::globalLoads},
    {"global_load_sectors", &TrafficCounters::globalLoadSectors},
    {"global_load_ideal_sectors", &TrafficCounters::globalLoadIdeal},
    {"global_stores", &TrafficCounters::globalStores},
    {"global_store_sectors", &TrafficCounters::globalStoreSectors},
    {"global_store_ideal_sectors", &TrafficCounters::globalStoreIdeal},
    {"shared_loads", &TrafficCounters::sharedLoads},
    {"shared_load_wavefronts", &TrafficCounters::sharedLoadWavefronts},
    {"shared_load_ideal_wavefronts", &TrafficCounters::sharedLoadIdeal},
    {"shared_stores", &TrafficCounters::sharedStores},
    {"shared_store_wavefronts", &TrafficCounters::sharedStoreWavefronts},
    {"shared_store_ideal_wavefronts", &TrafficCounters::sharedStoreIdeal},
    {"cp_async_bytes", &TrafficCounters::copyBytes},
};

// An instruction whose traffic is above the ideal is told with its place in the source.
struct Place {
  std::string ptx;
  int ptxLine = 0, cudaLine = 0, inlinedLine = 0;
  bool inMainLoop = false;
  PlaceTraffic traffic;
};

struct KernelCounters {
  uint64_t launches = 0;
  TrafficCounters all, mainLoop;
  std::map<uint32_t, Place> places;
};

struct Totals {
  std::mutex mutex;
  std::map<std::string, KernelCounters> kernels;

  ~Totals() = delete; // written while the process exits
};

void writeFile();

Totals &totals() {
  static Totals *all = [] {
    std::atexit(writeFile);
    return new Totals;
  }();
  return *all;
}

void writeFields(std::FILE *file, const TrafficCounters &counters) {
  const char *separator = "";
  for (const Field &field : fields) {
    std::fprintf(file, "%s\"%s\":%llu", separator, field.name,
                 static_cast<unsigned long long>(counters.*field.value));
    separator = ",";
  }
}

void writePlaces(std::FILE *file, const KernelCounters &counters) {
  const char *separator = "";
  for (const auto &[index, place] : counters.places)
    for (bool shared : {false, true}) {
      const Traffic &traffic = shared ? place.traffic.shared : place.traffic.global;
      if (traffic.actual <= traffic.ideal)
        continue;
      std::fprintf(file,
                   "%s{\"space\":\"%s\",\"ptx\":\"%s\",\"ptx_line\":%d,\"cuda_line\":%d,"
                   "\"inlined_line\":%d,\"main_loop\":%s,\"requests\":%llu,\"actual\":%llu,"
                   "\"ideal\":%llu}",
                   separator, shared ? "shared" : "global", place.ptx.c_str(), place.ptxLine,
                   place.cudaLine, place.inlinedLine, place.inMainLoop ? "true" : "false",
                   static_cast<unsigned long long>(traffic.requests),
                   static_cast<unsigned long long>(traffic.actual),
                   static_cast<unsigned long long>(traffic.ideal));
      separator = ",";
    }
}

void writeFile() {
  std::lock_guard<std::mutex> lock(totals().mutex);
  std::FILE *file = std::fopen(config().counterFile.c_str(), "w");
  if (!file)
    return;
  std::fprintf(file, "{");
  const char *separator = "\n";
  for (const auto &[name, counters] : totals().kernels) {
    std::fprintf(file, "%s\"%s\":{\"launches\":%llu,", separator, name.c_str(),
                 static_cast<unsigned long long>(counters.launches));
    writeFields(file, counters.all);
    std::fprintf(file, ",\"main_loop\":{");
    writeFields(file, counters.mainLoop);
    std::fprintf(file, "},\"places\":[");
    writePlaces(file, counters);
    std::fprintf(file, "]}");
    separator = ",\n";
  }
  std::fprintf(file, "\n}\n");
  std::fclose(file);
}

template <class Body>
void eachOf(Warp &warp, const Inst &inst, Body body) {
  body(warp.block->counters.all);
  if (inst.inMainLoop)
    body(warp.block->counters.mainLoop);
}

size_t distinct(uint64_t *values, size_t count) {
  std::sort(values, values + count);
  return static_cast<size_t>(std::unique(values, values + count) - values);
}

// Sectors of 32 bytes, and how many of them the bytes that were asked for would fill.
Traffic sectorsOf(const Access &access, Mask mask) {
  uint64_t sectors[lanes], places[lanes];
  size_t count = 0;
  forLanes(mask, [&](int lane) {
    sectors[count] = access.address[lane] / 32;
    places[count++] = access.address[lane];
  });
  return {1, distinct(sectors, count), (distinct(places, count) * access.bytes + 31) / 32};
}

// The accesses of 128 bytes into which a warp's access to shared memory falls: halves of the warp
// for 8 bytes, quarters for 16. Each takes as many wavefronts as its fullest bank has different
// words.
Traffic wavefrontsOf(const Access &access, Mask mask) {
  Traffic traffic{1, 0, 0};
  int group = access.bytes <= 4 ? lanes : lanes * 4 / static_cast<int>(access.bytes);
  for (int first = 0; first < lanes; first += group) {
    uint64_t words[4 * lanes];
    size_t count = 0;
    for (int lane = first; lane < first + group; ++lane)
      if (mask >> lane & 1)
        for (uint64_t word = access.address[lane] / 4;
             word * 4 < access.address[lane] + access.bytes; ++word)
          words[count++] = word;
    if (count == 0)
      continue;
    count = distinct(words, count);
    uint64_t inBank[32] = {};
    for (size_t k = 0; k < count; ++k)
      ++inBank[words[k] % 32];
    traffic.actual += *std::max_element(inBank, inBank + 32);
    traffic.ideal += (count + 31) / 32;
  }
  return traffic;
}

} // namespace

void TrafficCounters::add(const TrafficCounters &other) {
  for (const Field &field : fields)
    this->*field.value += other.*field.value;
}

void LaunchCounters::finish(const Kernel &kernel) {
  for (const Inst &inst : kernel.code) {
    if (inst.synthetic)
      continue;
    all.warpInstructions += executed[inst.index];
    all.laneInstructions += executedLanes[inst.index];
    if (inst.inMainLoop) {
      mainLoop.warpInstructions += executed[inst.index];
      mainLoop.laneInstructions += executedLanes[inst.index];
    }
  }
}

void addCounters(const Kernel &kernel, LaunchCounters &counters) {
  counters.finish(kernel);
  std::lock_guard<std::mutex> lock(totals().mutex);
  KernelCounters &total = totals().kernels[kernel.name];
  total.all.add(counters.all);
  total.mainLoop.add(counters.mainLoop);
  for (const Inst &inst : kernel.code) {
    const PlaceTraffic &traffic = counters.places[inst.index];
    if (traffic.global.requests + traffic.shared.requests == 0)
      continue;
    const CudaLine &cuda = inst.statement->cuda;
    Place &place = total.places[inst.index];
    place = {inst.statement->opcode, inst.statement->line, cuda.line,
             cuda.inlinedLine,       inst.inMainLoop,      place.traffic};
    place.traffic.global.add(traffic.global);
    place.traffic.shared.add(traffic.shared);
  }
}

void countLaunch(const Kernel &kernel) {
  std::lock_guard<std::mutex> lock(totals().mutex);
  ++totals().kernels[kernel.name].launches;
}

TrafficCounters countersOf(const std::string &kernel) {
  std::lock_guard<std::mutex> lock(totals().mutex);
  return totals().kernels[kernel].all;
}

void countMma(Warp &warp, const Inst &inst) {
  if (warp.block->counting)
    eachOf(warp, inst, [](TrafficCounters &counters) { ++counters.mma; });
}

void countWarpgroupMma(Warp &warp, const Inst &inst, uint32_t products) {
  if (warp.block->counting)
    eachOf(warp, inst, [&](TrafficCounters &counters) { counters.mma += products; });
}

void countAccess(Warp &warp, const Inst &inst, const Access &access, bool write) {
  if (!warp.block->counting || inst.space == Space::Local)
    return;
  Space space = inst.space;
  if (space == Space::Generic) // a warp's lanes are taken to be in one space
    space = spaceOf(access.address[std::countr_zero(access.mask)]);
  if (space == Space::Local)
    return;
  bool shared = space == Space::Shared;
  Traffic traffic = shared ? wavefrontsOf(access, access.mask) : sectorsOf(access, access.mask);
  PlaceTraffic &place = warp.block->counters.places[inst.index];
  (shared ? place.shared : place.global).add(traffic);
  eachOf(warp, inst, [&](TrafficCounters &counters) {
    uint64_t &requests = shared ? (write ? counters.sharedStores : counters.sharedLoads)
                                : (write ? counters.globalStores : counters.globalLoads);
    uint64_t &actual =
        shared ? (write ? counters.sharedStoreWavefronts : counters.sharedLoadWavefronts)
               : (write ? counters.globalStoreSectors : counters.globalLoadSectors);
    uint64_t &ideal = shared ? (write ? counters.sharedStoreIdeal : counters.sharedLoadIdeal)
                             : (write ? counters.globalStoreIdeal : counters.globalLoadIdeal);
    ++requests;
    actual += traffic.actual;
    ideal += traffic.ideal;
  });
}

void countCopy(Warp &warp, const Inst &inst, const Access &source, const Access &destination,
               const uint32_t *sizes) {
  if (!warp.block->counting)
    return;
  Mask copied = 0;
  uint64_t bytes = 0;
  forLanes(source.mask, [&](int lane) {
    copied |= static_cast<Mask>(sizes[lane] != 0) << lane;
    bytes += sizes[lane];
  });
  Traffic from = sectorsOf(source, copied), to = wavefrontsOf(destination, destination.mask);
  warp.block->counters.places[inst.index].global.add(from);
  warp.block->counters.places[inst.index].shared.add(to);
  eachOf(warp, inst, [&](TrafficCounters &counters) {
    ++counters.globalLoads;
    counters.globalLoadSectors += from.actual;
    counters.globalLoadIdeal += from.ideal;
    ++counters.sharedStores;
    counters.sharedStoreWavefronts += to.actual;
    counters.sharedStoreIdeal += to.ideal;
    counters.copyBytes += bytes;
  });
}

// Each matrix is one access of 128 bytes: eight rows of 16.
void countLoadMatrix(Warp &warp, const Inst &inst, const Access &rows) {
  if (!warp.block->counting)
    return;
  Traffic traffic = wavefrontsOf(rows, rows.mask);
  warp.block->counters.places[inst.index].shared.add(traffic);
  eachOf(warp, inst, [&](TrafficCounters &counters) {
    ++counters.ldmatrix;
    ++counters.sharedLoads;
    counters.sharedLoadWavefronts += traffic.actual;
    counters.sharedLoadIdeal += traffic.ideal;
  });
}

} // namespace ptxsim
