#pragma once
// Signals that ask a run to stop: INT, TERM, HUP (the terminal is gone), USR1, USR2 (batch systems,
// a while before the end) and XCPU. One that was ignored when the program started stays ignored.

namespace lorac::train {

/// From here on such a signal ends the process at once with code 128 + n: nothing is there to lose.
void stopAtOnce();
/// From here on it asks to stop, and whoever works looks at stopSignal(). More of them change
/// nothing, so that none throws a running save away; but a SIGINT that comes a second or more after
/// another one is a person who means it, and ends the process.
void stopWhenAsked();
/// The first signal that asked to stop; 0: none.
int stopSignal();

} // namespace lorac::train
