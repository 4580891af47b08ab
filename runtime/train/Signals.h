#pragma once
// SIGINT and SIGTERM: the first asks the loop to end after its step, the second ends the process at
// once.

namespace lorac::train {

void installSignalHandlers();
/// The signal that asked to stop; 0: none.
int stopSignal();

} // namespace lorac::train
