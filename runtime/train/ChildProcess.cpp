#include "runtime/train/ChildProcess.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

extern char **environ;

namespace lorac::train {

namespace {

std::string readAll(const UniqueFd &file) {
  std::string text;
  char chunk[4096];
  for (size_t got = sizeof chunk; got == sizeof chunk;) {
    got = readAt(*file, text.size(), chunk, sizeof chunk);
    text.append(chunk, got);
  }
  return text;
}

} // namespace

Result<ChildProcess> ChildProcess::start(const std::vector<std::string> &words,
                                         std::string_view input, uint64_t mostMemory) {
  ChildProcess child;
  const UniqueFd inputFile(memfd_create("lorac-input", MFD_CLOEXEC));
  child.outputFile = UniqueFd(memfd_create("lorac-output", MFD_CLOEXEC));
  child.errorFile = UniqueFd(memfd_create("lorac-errors", MFD_CLOEXEC));
  const bool ready = inputFile && child.outputFile && child.errorFile &&
                     writeAll(*inputFile, input) == input.size() &&
                     lseek(*inputFile, 0, SEEK_SET) == 0;
  int code = errno;
  if (ready) {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, *inputFile, 0);
    posix_spawn_file_actions_adddup2(&files, *child.outputFile, 1);
    posix_spawn_file_actions_adddup2(&files, *child.errorFile, 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // Signals that the run ignores or blocks are none of the child's business.
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    std::vector<char *> arguments;
    for (const std::string &word : words)
      arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    code = posix_spawn(&child.pid, words.front().c_str(), &files, &attributes, arguments.data(),
                       environ);
    if (code != 0)
      child.pid = -1;
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  if (child.pid < 0)
    return Error{"cannot run '" + words.front() + "': " + std::strerror(code)};
  if (rlimit limit; mostMemory > 0 && prlimit(child.pid, RLIMIT_AS, nullptr, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max = std::min<rlim_t>(limit.rlim_max, mostMemory);
    (void)prlimit(child.pid, RLIMIT_AS, &limit, nullptr);
  }
  return child;
}

ChildProcess::ChildProcess(ChildProcess &&other) noexcept { *this = std::move(other); }

ChildProcess &ChildProcess::operator=(ChildProcess &&other) noexcept {
  std::swap(pid, other.pid);
  std::swap(outputFile, other.outputFile);
  std::swap(errorFile, other.errorFile);
  std::swap(result, other.result);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid > 0) {
    kill(-pid, SIGKILL); // its linker too
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

bool ChildProcess::ended(std::chrono::milliseconds patience) {
  if (pid < 0)
    return true;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point until = Clock::now() + patience;
  int status = 0;
  // A descriptor of the process becomes readable when it ends; a moment may pass until it can be
  // buried, and signals cut waits short.
  const UniqueFd handle(patience.count() > 0 ? int(syscall(SYS_pidfd_open, pid, 0)) : -1);
  pid_t buried = waitpid(pid, &status, WNOHANG);
  while (buried != pid) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0)
      break;
    pollfd wanted{*handle, POLLIN, 0};
    if (!handle || poll(&wanted, 1, int(std::min<int64_t>(left, 1000))) != 0)
      usleep(1000);
    buried = waitpid(pid, &status, WNOHANG);
  }
  if (buried != pid)
    return false;
  pid = -1;
  result.exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  result.output = readAll(outputFile);
  result.errors = readAll(errorFile);
  outputFile.reset();
  errorFile.reset();
  return true;
}

} // namespace lorac::train
