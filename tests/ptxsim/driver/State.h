// The driver's state: one device, one primary context, and the lock that every call takes.
#ifndef PTXSIM_DRIVER_STATE_H
#define PTXSIM_DRIVER_STATE_H

#include "tests/ptxsim/driver/CudaAbi.h"
#include <mutex>

namespace ptxsim {

struct DriverState {
  std::recursive_mutex mutex;
  bool initialised = false;
  int retained = 0;               // of the primary context
  CUresult sticky = CUDA_SUCCESS; // once a kernel failed, every call says so

  ~DriverState() = delete; // programs call while they exit
};

DriverState &state();
CUcontext primaryContext();
CUcontext &currentContext(); // of this thread

/// CUDA_SUCCESS where a call that needs a context may go on.
CUresult ready();

/// The state of the context after work was done: an error once the checks have found something.
CUresult settle();

} // namespace ptxsim

/// The begin of each exported call that needs a context.
#define PTXSIM_ENTER                                                                               \
  std::lock_guard<std::recursive_mutex> lock(ptxsim::state().mutex);                               \
  if (CUresult code = ptxsim::ready())                                                             \
    return code;

#endif
