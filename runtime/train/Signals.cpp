#include "runtime/train/Signals.h"

#include <csignal>
#include <unistd.h>

namespace lorac::train {

namespace {

volatile std::sig_atomic_t pendingSignal = 0;

void onSignal(int number) {
  if (pendingSignal != 0)
    _exit(128 + number);
  pendingSignal = number;
}

} // namespace

void installSignalHandlers() {
  struct sigaction action = {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void ignoreWriteSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

int stopSignal() { return pendingSignal; }

} // namespace lorac::train
