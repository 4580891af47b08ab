// A program in another process: what goes in, what comes out, and that nothing is left of it.

#include "runtime/train/ChildProcess.h"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sys/time.h>
#include <thread>
#include <unistd.h>

namespace lorac::train {
namespace {

using namespace std::chrono_literals;

/// Runs a line of the shell to its end.
ChildOutcome outcomeOf(const std::string &line, std::string_view input = "") {
  Result<ChildProcess> child = ChildProcess::start({"/bin/sh", "-c", line}, input);
  if (!child) {
    ADD_FAILURE() << child.error().message;
    return {};
  }
  while (!child->ended(1000ms)) {
  }
  return child->outcome();
}

bool isThere(pid_t pid) { return kill(pid, 0) == 0; }

TEST(ChildProcess, WordsGoInAndComeOut) {
  const ChildOutcome echoed = outcomeOf("cat; echo over >&2", "one\ntwo");
  EXPECT_EQ(echoed.output, "one\ntwo");
  EXPECT_EQ(echoed.errors, "over\n");
  EXPECT_EQ(echoed.exitCode, 0);
  EXPECT_EQ(echoed.signal, 0);
  EXPECT_EQ(outcomeOf("cat").output, "");
  // As a file that can be named, and far beyond what a pipe holds: neither side waits.
  const std::string large(3 << 20, 'x');
  EXPECT_EQ(outcomeOf("cat /dev/stdin", large).output, large);
  EXPECT_EQ(outcomeOf("true", large).exitCode, 0) << "nobody has to read it";
}

TEST(ChildProcess, SaysHowItEnded) {
  EXPECT_EQ(outcomeOf("exit 7").exitCode, 7);
  EXPECT_EQ(outcomeOf("exit 7").signal, 0);
  const ChildOutcome killed = outcomeOf("echo before; kill -KILL $$");
  EXPECT_EQ(killed.signal, SIGKILL);
  EXPECT_EQ(killed.exitCode, -1);
  EXPECT_EQ(killed.output, "before\n");
}

TEST(ChildProcess, AProgramThatIsNotThereIsAnError) {
  Result<ChildProcess> child = ChildProcess::start({"/nowhere/lorac", "recompile"}, "");
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().message, "cannot run '/nowhere/lorac': No such file or directory");
}

TEST(ChildProcess, HasItsOwnGroupAndNoneOfOurMask) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  std::signal(SIGPIPE, SIG_IGN);
  const ChildOutcome terminated = outcomeOf("kill -TERM $$; exit 1");
  const ChildOutcome piped = outcomeOf("kill -PIPE $$; exit 1");
  std::signal(SIGPIPE, SIG_DFL);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(terminated.signal, SIGTERM);
  EXPECT_EQ(piped.signal, SIGPIPE);

  Result<ChildProcess> child = ChildProcess::start({"/bin/sleep", "1000"}, "");
  ASSERT_TRUE(child);
  EXPECT_EQ(getpgid(child->id()), child->id());
}

TEST(ChildProcess, EndedWaitsNoLongerThanItIsTold) {
  Result<ChildProcess> child =
      ChildProcess::start({"/bin/sh", "-c", "read line < /dev/stdin; sleep 1000"}, "x\n");
  ASSERT_TRUE(child);
  EXPECT_FALSE(child->ended(0ms));
  EXPECT_FALSE(child->ended(1ms));
  const pid_t pid = child->id();
  kill(pid, SIGKILL);
  while (!child->ended(1000ms)) {
  }
  EXPECT_TRUE(child->ended(0ms)) << "it stays ended";
  EXPECT_EQ(child->outcome().signal, SIGKILL);
  EXPECT_FALSE(isThere(pid)) << "and is buried";
}

// A signal of ours cuts no wait short: who probes would take the child for one that does not
// answer.
TEST(ChildProcess, EndedWaitsOnWhateverSignalsCome) {
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, &before);
  const itimerval often{{0, 2000}, {0, 2000}}, never{};
  setitimer(ITIMER_REAL, &often, nullptr);
  Result<ChildProcess> child = ChildProcess::start({"/bin/sleep", "0.2"}, "");
  ASSERT_TRUE(child);
  const bool ended = child->ended(60000ms);
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(ended);
}

// Its own children too: a compiler's linker.
TEST(ChildProcess, NothingIsLeftOfOneThatIsDropped) {
  pid_t pid = 0, grandchild = 0;
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / ("grandchild." + std::to_string(getpid()));
  {
    Result<ChildProcess> child =
        ChildProcess::start({"/bin/sh", "-c",
                             "sleep 1000 & echo $! > " + file.string() + ".new; mv " +
                                 file.string() + ".new " + file.string() + "; wait"},
                            "");
    ASSERT_TRUE(child);
    pid = child->id();
    while (!std::filesystem::exists(file))
      std::this_thread::sleep_for(1ms);
    std::ifstream(file) >> grandchild;
    EXPECT_TRUE(isThere(pid));
    EXPECT_TRUE(isThere(grandchild));
    ChildProcess moved = std::move(*child); // the one that is moved from holds nothing
    EXPECT_TRUE(isThere(pid));
  }
  std::filesystem::remove(file);
  EXPECT_FALSE(isThere(pid));
  // Whoever inherits the grandchild buries it; a zombie has no command line.
  auto runs = [&] {
    std::ifstream words("/proc/" + std::to_string(grandchild) + "/cmdline");
    std::string word;
    return bool(std::getline(words, word, '\0')) && word == "sleep";
  };
  while (runs())
    std::this_thread::sleep_for(1ms);
}

} // namespace
} // namespace lorac::train
