#pragma once
// SIGINT and SIGTERM: the first asks the loop to end after its step, the second ends the process at
// once.

namespace lorac::train {

void installSignalHandlers();
/// A closed pipe or a limit on the size of files becomes an error of write, worded like any other.
void ignoreWriteSignals();
/// The signal that asked to stop; 0: none.
int stopSignal();

} // namespace lorac::train
