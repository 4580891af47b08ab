#include "runtime/train/Signals.h"

#include <csignal>
#include <ctime>
#include <initializer_list>
#include <unistd.h>

namespace lorac::train {

namespace {

volatile std::sig_atomic_t pendingSignal = 0, waits = 0, interrupted = 0;
timespec interruptedAt; // of the first SIGINT; the handler alone uses it

void onSignal(int number) {
  if (!waits)
    _exit(128 + number);
  if (pendingSignal == 0)
    pendingSignal = number;
  if (number != SIGINT)
    return;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (!interrupted) {
    interrupted = 1;
    interruptedAt = now;
  } else if (double(now.tv_sec - interruptedAt.tv_sec) +
                 1e-9 * double(now.tv_nsec - interruptedAt.tv_nsec) >=
             1.0) {
    _exit(128 + number);
  }
}

} // namespace

void stopAtOnce() {
  struct sigaction action = {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU}) {
    struct sigaction before = {};
    if (sigaction(number, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(number, &action, nullptr);
  }
}

void stopWhenAsked() { waits = 1; }

int stopSignal() { return pendingSignal; }

} // namespace lorac::train
