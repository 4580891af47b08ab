#include "runtime/train/Limits.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <sys/stat.h>
#include <thread>

namespace lorac::train {
namespace {

// Version 1 says a number near 2^63 where there is no limit.
constexpr uint64_t noLimit = uint64_t(1) << 60;

/// A mounted hierarchy of cgroups and this process's place in it.
struct Hierarchy {
  std::string mount; ///< where it is seen
  std::string root;  ///< the group that is seen there: "/", or a container's own
  std::string path;  ///< this process's group
  bool isV2 = false, hasCpu = false, hasMemory = false;
};

template <typename T>
void lower(std::optional<Limit<T>> &least, T value, std::string by) {
  if (!least || value < least->value)
    least = {value, std::move(by)};
}

std::vector<std::string> split(const std::string &text, char at) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, at);)
    words.push_back(word);
  return words;
}

bool contains(const std::vector<std::string> &words, const char *word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The kernel writes a blank, a tab, a newline and a backslash of a path as \040 and so on.
std::string unescaped(const std::string &path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\' && i + 3 < path.size()) {
      out += char(std::strtol(path.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      out += path[i];
    }
  }
  return out;
}

// Lines of mountinfo: id, parent, device, root, mount point, options, optional fields, "-", type,
// source, options (the controllers in version 1).
std::vector<Hierarchy> mountedHierarchies(const std::string &proc) {
  std::vector<Hierarchy> found;
  std::ifstream file(proc + "/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4)
      continue;
    const std::string &type = dash[1];
    if (type != "cgroup" && type != "cgroup2")
      continue;
    const std::vector<std::string> controllers = split(dash[3], ',');
    Hierarchy one{unescaped(words[4]), unescaped(words[3]), "", type == "cgroup2"};
    one.hasCpu = one.isV2 || contains(controllers, "cpu");
    one.hasMemory = one.isV2 || contains(controllers, "memory");
    if (one.hasCpu || one.hasMemory)
      found.push_back(one);
  }
  return found;
}

// Lines of /proc/self/cgroup: number, controllers, path; version 2 has the number 0 and none.
void findPaths(const std::string &proc, std::vector<Hierarchy> &hierarchies) {
  std::ifstream file(proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    const std::vector<std::string> controllers =
        split(line.substr(first + 1, second - first - 1), ',');
    for (Hierarchy &one : hierarchies)
      if (one.isV2 ? controllers.empty()
                   : (one.hasCpu && contains(controllers, "cpu")) ||
                         (one.hasMemory && contains(controllers, "memory")))
        one.path = line.substr(second + 1);
  }
}

bool isFolder(const std::string &path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// The folders of this process's group and of those above it, as far as they are seen; the lowest
/// first. In a container the path may be one of the host that is not there: then the place where
/// the hierarchy is mounted holds the limits.
std::vector<std::string> foldersOf(const Hierarchy &of, const std::string &root) {
  const std::string mount = root + of.mount;
  std::string below = of.path == "/" ? "" : of.path;
  if (of.root != "/") {
    const bool inside = below.compare(0, of.root.size(), of.root) == 0 &&
                        (below.size() == of.root.size() || below[of.root.size()] == '/');
    below = inside ? below.substr(of.root.size()) : "";
  }
  if (below.find("/..") != std::string::npos || !isFolder(mount + below))
    below.clear();
  std::vector<std::string> folders;
  for (; !below.empty(); below.resize(below.rfind('/')))
    folders.push_back(mount + below);
  folders.push_back(mount);
  return folders;
}

std::string firstWord(const std::string &path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

std::optional<uint64_t> byteCount(const std::string &word) {
  char *end = nullptr;
  const uint64_t bytes = std::strtoull(word.c_str(), &end, 10);
  if (word.empty() || *end || word[0] == '-' || bytes >= noLimit)
    return std::nullopt;
  return bytes;
}

void lowerCores(Limits &limits, const std::string &quota, const std::string &period,
                const std::string &by) {
  const double micros = std::strtod(quota.c_str(), nullptr),
               of = std::strtod(period.c_str(), nullptr);
  if (micros > 0 && of > 0) // "max" and -1 are none
    lower(limits.cores, micros / of, by);
}

void readGroup(const std::string &folder, const std::string &shown, const Hierarchy &of,
               Limits &limits) {
  if (of.hasCpu && of.isV2) {
    std::ifstream file(folder + "/cpu.max");
    std::string quota, period;
    if (file >> quota >> period)
      lowerCores(limits, quota, period, shown + "/cpu.max");
  } else if (of.hasCpu) {
    lowerCores(limits, firstWord(folder + "/cpu.cfs_quota_us"),
               firstWord(folder + "/cpu.cfs_period_us"), shown + "/cpu.cfs_quota_us");
  }
  if (!of.hasMemory)
    return;
  // Above memory.high a process is throttled to a standstill where nothing can be swapped out.
  for (const char *name : {"memory.max", "memory.high", "memory.limit_in_bytes"})
    if (of.isV2 == (std::string(name) != "memory.limit_in_bytes"))
      if (auto bytes = byteCount(firstWord(folder + "/" + name)))
        lower(limits.memory, *bytes, shown + "/" + name);
}

// Lines of /proc/self/limits: the name, the soft limit, the hard one, the unit.
void readUlimits(const std::string &proc, Limits &limits) {
  std::ifstream file(proc + "/self/limits");
  auto take = [](const std::string &line, const std::string &name, const char *by,
                 std::optional<Limit<uint64_t>> &into) {
    if (line.compare(0, name.size(), name) != 0)
      return;
    std::istringstream rest(line.substr(name.size()));
    std::string soft;
    rest >> soft;
    if (auto bytes = byteCount(soft))
      lower(into, *bytes, by);
  };
  for (std::string line; std::getline(file, line);) {
    take(line, "Max address space", "ulimit -v", limits.addressSpace);
    take(line, "Max data size", "ulimit -d", limits.data);
  }
}

} // namespace

Limits readLimits(const std::string &root) {
  const std::string proc = root + "/proc";
  Limits limits;
  std::vector<Hierarchy> hierarchies = mountedHierarchies(proc);
  findPaths(proc, hierarchies);
  for (const Hierarchy &one : hierarchies)
    for (const std::string &folder : foldersOf(one, root))
      readGroup(folder, folder.substr(root.size()), one, limits);
  readUlimits(proc, limits);
  return limits;
}

int threadsWithin(int cores, const Limits &limits) {
  if (limits.cores)
    cores = std::min(cores, int(std::min(std::ceil(limits.cores->value - 1e-9), 1e6)));
  return std::max(cores, 1);
}

int availableThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cores = sched_getaffinity(0, sizeof set, &set) == 0
                        ? CPU_COUNT(&set)
                        : int(std::thread::hardware_concurrency());
  return threadsWithin(cores, readLimits());
}

Limit<uint64_t> MachineMemory::mostBy() const {
  Limit<uint64_t> least{total, "the machine"};
  for (const auto *limit : {&limits.memory, &limits.addressSpace, &limits.data})
    if (*limit && ((*limit)->value < least.value || least.value == 0))
      least = **limit;
  return least;
}

MachineMemory machineMemory(const std::string &root) {
  MachineMemory memory;
  std::ifstream file(root + "/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kib = 0;
    words >> name >> kib;
    if (name == "MemTotal:")
      memory.total = kib * 1024;
    else if (name == "MemAvailable:")
      memory.available = kib * 1024;
  }
  memory.limits = readLimits(root);
  return memory;
}

} // namespace lorac::train
