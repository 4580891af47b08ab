#pragma once
// What this machine and its limits give a process: cores and memory, cut by affinity, by cgroups
// of version 1 and 2 (Docker, Kubernetes, Slurm, systemd) and by ulimit. Both halves of lorac ask
// here: `plan` and `doctor` before a run, the runtime in it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

/// A limit and the file or the ulimit that sets it.
template <typename T>
struct Limit {
  T value;
  std::string by;
};

/// The lowest of all that bind this process; nothing where none does.
struct Limits {
  std::optional<Limit<double>> cores;          ///< a quota of processor time, in cores
  std::optional<Limit<uint64_t>> memory;       ///< of the cgroup, bytes
  std::optional<Limit<uint64_t>> addressSpace; ///< ulimit -v: mapped files count
  std::optional<Limit<uint64_t>> data;         ///< ulimit -d: private memory
};

/// `root` stands before /proc and /sys: a test's own tree.
Limits readLimits(const std::string &root = "");

/// Cores this process may use: the affinity mask, cut by the quota (a fraction rounded up); at
/// least 1.
int availableThreads();
/// The same of `cores` and `limits`.
int threadsWithin(int cores, const Limits &limits);

struct MachineMemory {
  uint64_t total = 0;     ///< bytes of the machine
  uint64_t available = 0; ///< bytes that can be had without swapping
  Limits limits;
  /// The most that a process can use at all, and what says so.
  Limit<uint64_t> mostBy() const;
  uint64_t most() const { return mostBy().value; }
};

MachineMemory machineMemory(const std::string &root = "");

} // namespace lorac::train
