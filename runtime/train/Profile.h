#pragma once
// What each kernel cost, as JSON for `make bench`.

#include "runtime/Result.h"
#include "runtime/train/Session.h"

#include <string>

namespace lorac::train {

/// Writes {"target", "steps_seconds", "tokens", "tokens_per_second", "threads", "planned_bytes",
/// "peak_memory_bytes", "memory": [{"key", "planned_bytes", "resident_bytes"}], "kernels_seconds",
/// "kernels": [{"program", "kernel", "family", "calls", "seconds", "flops", "bytes"}]}, kernels by
/// seconds. `seconds` and `tokens` are those of the training steps.
Result<void> writeProfile(const std::string &path, const Session &session, const Corpus &corpus,
                          double seconds, int64_t tokens);

} // namespace lorac::train
