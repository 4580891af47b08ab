#pragma once
// Words for people, on stderr. Words are never worth a run: one that is closed, full, cut off or
// not read loses them, and nothing else happens.

#include "runtime/Result.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <string>
#include <string_view>
#include <unistd.h>

namespace lorac {

/// Writes `text` to stderr as it is. A reader that takes nothing is waited for two seconds, once;
/// after that its words are dropped until it reads again.
inline void sayText(std::string_view text) {
  constexpr int patience = 2000;  // ms
  constexpr size_t atOnce = 4096; // a pipe that is ready takes so much without blocking
  static bool reads = true;
  const int before = errno;
  while (!text.empty()) {
    pollfd err{STDERR_FILENO, POLLOUT, 0};
    const int ready = poll(&err, 1, reads ? patience : 0);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready == 0)
      reads = false;
    if (ready <= 0 || (err.revents & POLLOUT) == 0)
      break;
    reads = true;
    const ssize_t put = write(STDERR_FILENO, text.data(), std::min(text.size(), atOnce));
    if (put < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (put <= 0)
      break;
    text.remove_prefix(size_t(put));
  }
  errno = before;
}

/// One line of words.
inline void say(std::string_view line) { sayText(std::string(line) + "\n"); }

/// First thing in `main`. A descriptor 0, 1 or 2 that is closed would be given to the next file
/// that is opened, and words would be written into it: /dev/null takes its place, for reading alone
/// where it stands for stdout, so that results that go nowhere are still an error. Writing to a
/// pipe that nobody reads, or beyond the limit on a file's size, becomes an error like any other.
/// Whoever started this process may have asked the system to bury its children: these are waited
/// for. Where no memory is left the process ends at once, with words: unwinding may ask for more.
inline void prepareProcess() {
  std::set_new_handler([] {
    constexpr char words[] =
        "error: out of memory: a limit (ulimit, cgroup) or the machine has no more\n";
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
    _exit(int(Exit::DoesNotFit));
  });
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      (void)!open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);
}

} // namespace lorac
