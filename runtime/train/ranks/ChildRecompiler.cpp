#include "runtime/abi.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/Trust.h"
#include "runtime/train/CacheFolder.h"
#include "runtime/train/ChildProcess.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Limits.h"
#include "runtime/train/Signals.h"
#include "runtime/train/ranks/Recompiler.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <unistd.h>

namespace lorac::train {

namespace {

namespace fs = std::filesystem;

constexpr size_t programsKept = 64;
constexpr std::chrono::seconds probePatience{30};
constexpr std::chrono::milliseconds glance{50}; // between looks at a signal

// What a build may take, far above what one does: a child that hangs or grows without end is
// stopped, and costs the run nothing but a smaller program. A core needs a third of a second a
// kernel; the child has a tenth of a core beside a busy run.
constexpr std::chrono::seconds leastPatience{600};
constexpr double timesEstimate = 10, kernelSeconds = 0.3, launchSeconds = 0.25e-3;
constexpr uint64_t fixedMemory = uint64_t(6) << 30, threadMemory = uint64_t(256) << 20,
                   timesBase = 256;

std::chrono::seconds patienceFor(const Plan &plan) {
  const size_t launches = plan.train.size() + plan.hidden.size() + plan.regularize.size();
  const double estimate =
      kernelSeconds * double(plan.kernels.size()) + launchSeconds * double(launches);
  return std::max(leastPatience, std::chrono::seconds(int64_t(timesEstimate * estimate)));
}

/// Of address space: threads of the compiler reserve much that they never touch.
uint64_t memoryFor(const Payload &payload) {
  return fixedMemory + threadMemory * uint64_t(availableThreads()) +
         timesBase * payload.file(baseFile).size();
}

bool isExecutable(const std::string &path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

/// One that somebody else could have put there, or could change, is not run.
Result<std::pair<std::string, std::string>> trusted(const std::string &path,
                                                    const std::string &place) {
  struct stat file, folder;
  std::error_code ignored;
  const std::string real = fs::canonical(path, ignored), in = fs::path(real).parent_path();
  auto refused = [&](const std::string &what, const std::string &why) {
    return Error{"'" + path + "' (" + place + ") is not asked for programs: '" + what + "' " + why,
                 Exit::Refused};
  };
  if (stat(real.c_str(), &file) != 0 || stat(in.c_str(), &folder) != 0)
    return refused(path, "cannot be looked at");
  folder.st_mode &= ~mode_t(S_IWGRP); // as /usr/local/bin is
  if (const std::string why = formats::notOurs(file); !why.empty())
    return refused(real, why);
  if (const std::string why = formats::notOurs(folder); !why.empty())
    return refused(in, why);
  return std::pair(path, place);
}

/// The lorac to ask; what named it, for messages.
Result<std::pair<std::string, std::string>> findLorac(const std::string &named) {
  const char *variable = std::getenv("LORAC");
  for (auto [place, path] :
       {std::pair{"--lorac", named}, {"$LORAC", std::string(variable ? variable : "")}}) {
    if (path.empty())
      continue;
    if (!isExecutable(path))
      return Error{std::string(place) + " names '" + path + "', which is no executable file",
                   Exit::Usage};
    return trusted(path, place);
  }
  std::error_code ignored;
  std::string beside = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "lorac";
  if (isExecutable(beside))
    return trusted(beside, "beside this program");
  const char *path = std::getenv("PATH");
  for (std::string_view rest = path ? path : ""; !rest.empty();) {
    const size_t end = std::min(rest.find(':'), rest.size());
    std::string candidate = std::string(rest.substr(0, end)) + "/lorac";
    if (end > 0 && isExecutable(candidate))
      return trusted(candidate, "on PATH");
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return Error{"no lorac was found beside this program, on PATH, by --lorac or in $LORAC",
               Exit::Refused};
}

std::string lastLine(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

/// What a child that has ended says for itself; nothing when all went well.
std::optional<Error> failureOf(const ChildOutcome &outcome) {
  if (outcome.signal)
    return Error{"lorac was killed by signal " + std::to_string(outcome.signal)};
  if (outcome.exitCode != 0)
    return Error{"lorac ended with code " + std::to_string(outcome.exitCode) +
                 (outcome.errors.empty() ? "" : ": " + lastLine(outcome.errors))};
  return std::nullopt;
}

/// A program that the cache has.
class Found : public ProgramBuild {
public:
  Found(Payload program, std::string path) {
    built.program = std::move(program), built.path = std::move(path), built.fromCache = true;
  }
  bool ended(std::chrono::milliseconds) override { return true; }
  Result<BuiltProgram> take() override { return std::move(built); }

private:
  BuiltProgram built;
};

class Failed : public ProgramBuild {
public:
  explicit Failed(Error error) : error(std::move(error)) {}
  bool ended(std::chrono::milliseconds) override { return true; }
  Result<BuiltProgram> take() override { return error; }

private:
  Error error;
};

class Child : public ProgramBuild {
public:
  /// `wasLate` is set where it is.
  Child(ChildProcess process, std::string path, std::chrono::seconds most, bool &wasLate)
      : process(std::move(process)), path(std::move(path)), most(most), wasLate(wasLate),
        until(std::chrono::steady_clock::now() + most) {}

  bool ended(std::chrono::milliseconds patience) override {
    isLate = !process.ended(patience) && std::chrono::steady_clock::now() >= until;
    return isLate || process.ended(std::chrono::milliseconds(0));
  }

  Result<BuiltProgram> take() override {
    if (isLate) {
      wasLate = true;
      return Error{"it took longer than " + std::to_string(most.count()) +
                   " s; lorac is not asked again by this run"};
    }
    const ChildOutcome &outcome = process.outcome();
    if (std::optional<Error> failure = failureOf(outcome))
      return *failure;
    LORAC_TRY_ASSIGN(Json said, parseJson(outcome.output, "what lorac said"));
    std::string error;
    Fields fields(said, "lorac", error);
    BuiltProgram built;
    built.kernelsBuilt = int(fields.integer("kernels_built", 0, 1 << 20));
    built.kernelsFromCache = int(fields.integer("kernels_from_cache", 0, 1 << 20));
    built.seconds = fields.number("seconds");
    if (!error.empty())
      return Error{error};
    LORAC_TRY_ASSIGN(Payload program, Payload::read(path, /*mustBeOurs=*/true));
    built.program = std::move(program), built.path = path;
    return built;
  }

private:
  ChildProcess process;
  std::string path;
  std::chrono::seconds most;
  bool &wasLate;
  std::chrono::steady_clock::time_point until;
  bool isLate = false;
};

class ChildRecompiler : public Recompiler {
public:
  ChildRecompiler(std::string lorac, std::string identity, const BuildLimits &limits)
      : lorac(std::move(lorac)), identity(std::move(identity)), limits(limits) {}

  std::unique_ptr<ProgramBuild> start(const NamedRanks &ranks) override {
    Json json = Json::object();
    for (const auto &[module, rank] : ranks)
      json[module] = rank;
    const std::string text = json.dump(), folder = cacheFolder() + "/programs";
    auto unusable = [](const std::string &why) {
      return std::make_unique<Failed>(Error{why + "; LORAC_CACHE_DIR names another folder"});
    };
    if (cacheFolder().empty())
      return unusable("there is no folder for programs");
    if (Result<void> made = formats::makeOwnFolder(folder); !made)
      return unusable(made.error().message);
    if (access(folder.c_str(), W_OK) != 0)
      return unusable("'" + folder + "' cannot be written to");
    std::error_code code;
    const std::string path = folder + "/" + formats::hashHex(identity + text) + ".program";
    if (fs::exists(fs::symlink_status(path, code))) {
      if (Result<Payload> kept = Payload::read(path, /*mustBeOurs=*/true)) {
        fs::last_write_time(path, fs::file_time_type::clock::now(), code);
        return std::make_unique<Found>(std::move(*kept), path);
      }
      fs::remove(path, code); // not whole, or not ours: made again
    }
    if (wasLate) // each would hold up the run as long
      return std::make_unique<Failed>(Error{"lorac took too long before"});
    removeOldest(folder);
    // The executable may be replaced meanwhile; this name is of the one that runs.
    const std::string self = "/proc/" + std::to_string(getpid()) + "/exe";
    Result<ChildProcess> child = ChildProcess::start(
        {lorac, "recompile", self, "--ranks", "/dev/stdin", "--out", path, "--background"}, text,
        limits.memory);
    if (!child)
      return std::make_unique<Failed>(child.error());
    return std::make_unique<Child>(std::move(*child), path, limits.patience, wasLate);
  }

private:
  static void removeOldest(const std::string &folder) {
    std::error_code code;
    std::vector<std::pair<fs::file_time_type, fs::path>> all;
    for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
         entry.increment(code))
      all.emplace_back(entry->last_write_time(code), entry->path());
    std::sort(all.rbegin(), all.rend());
    for (size_t i = programsKept - 1; i < all.size(); ++i)
      fs::remove(all[i].second, code);
  }

  std::string lorac, identity; ///< identity: of the compiler and of what it compiles
  BuildLimits limits;
  bool wasLate = false;
};

} // namespace

BuildLimits buildLimits(const Plan &plan, const Payload &payload) {
  return {patienceFor(plan), memoryFor(payload)};
}

Result<std::unique_ptr<Recompiler>>
childRecompiler(const std::string &named, const Payload &payload, const BuildLimits &limits) {
  LORAC_TRY_ASSIGN(auto found, findLorac(named));
  const auto &[lorac, place] = found;
  auto unfit = [&, lorac = lorac, place = place](const std::string &why) {
    return Error{"'" + lorac + "' (" + place + ") cannot compile this run's programs: " + why,
                 Exit::Refused};
  };
  Result<ChildProcess> child = ChildProcess::start({lorac, "recompile", "--probe"}, "");
  if (!child)
    return unfit(child.error().message);
  for (const auto until = std::chrono::steady_clock::now() + probePatience; !child->ended(glance);)
    if (const int signal = stopSignal())
      return Error{"stopped by signal " + std::to_string(signal) + " before the first step",
                   Exit(128 + signal)};
    else if (std::chrono::steady_clock::now() >= until)
      return unfit("it does not answer");
  if (std::optional<Error> failure = failureOf(child->outcome()))
    return unfit(failure->message);
  Result<Json> said = parseJson(child->outcome().output, "what it said");
  std::string error;
  if (!said)
    return unfit(said.error().message);
  Fields fields(*said, "lorac", error);
  const int64_t abi = fields.integer("abi");
  const std::string compiler = fields.text("compiler");
  if (!error.empty())
    return unfit(error);
  if (abi != LORAC_ABI_VERSION)
    return unfit("it makes programs of ABI " + std::to_string(abi) + ", this run needs " +
                 std::to_string(LORAC_ABI_VERSION) + "; compile the spec again with it");
  if (!payload.has(baseFile))
    return Error{std::string("this program carries no '") + baseFile + "'; compile the spec again",
                 Exit::ForeignFile};
  const std::string identity = compiler + formats::hashHex(payload.file(baseFile)) +
                               formats::hashHex(payload.file("plan.json")) +
                               formats::hashHex(payload.file("spec.toml"));
  return std::unique_ptr<Recompiler>(new ChildRecompiler(lorac, identity, limits));
}

} // namespace lorac::train
