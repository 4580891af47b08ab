// Streams as queues of work that is done as late as it may be: when somebody waits for it.
#ifndef PTXSIM_DRIVER_STREAMS_H
#define PTXSIM_DRIVER_STREAMS_H

#include "tests/ptxsim/driver/CudaAbi.h"
#include <functional>

namespace ptxsim {

/// Puts work on a stream; CUDA_ERROR_INVALID_HANDLE if there is no such stream.
CUresult enqueue(CUstream stream, std::function<void()> work);

/// Does all that the stream holds, and what that depends on.
CUresult drain(CUstream stream);
void drainAll();

/// The default stream, by the program's own handle of it.
constexpr CUstream legacyStream = nullptr;

} // namespace ptxsim

#endif
