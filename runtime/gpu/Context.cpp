#include "runtime/gpu/Context.h"

namespace lorac::gpu {

namespace {

Result<DeviceFacts> factsOf(const Driver &driver, int device) {
  const DriverApi &call = driver.call();
  DeviceFacts facts;
  char name[256] = "";
  size_t memory = 0;
  Status status = call.deviceGetName(name, sizeof name - 1, device);
  if (status == status::success)
    status = call.deviceTotalMem(&memory, device);
  auto ask = [&](int attribute, int &out) {
    if (status == status::success)
      status = call.deviceGetAttribute(&out, attribute, device);
  };
  ask(attribute::capabilityMajor, facts.major);
  ask(attribute::capabilityMinor, facts.minor);
  ask(attribute::multiprocessors, facts.multiprocessors);
  ask(attribute::maxThreadsPerBlock, facts.threadsPerBlock);
  ask(attribute::maxSharedPerBlockOptin, facts.sharedPerBlock);
  if (status != status::success)
    return driver.error(status, "asking the GPU what it is");
  facts.name = name;
  facts.memory = memory;
  return facts;
}

} // namespace

std::string DeviceFacts::shown() const {
  return name + " (sm_" + std::to_string(capability()) + ")";
}

Result<std::vector<DeviceFacts>> listDevices(const Driver &driver) {
  int count = 0;
  LORAC_TRY(driver.check(driver.call().deviceGetCount(&count), "counting the machine's GPUs"));
  std::vector<DeviceFacts> devices;
  for (int i = 0; i < count; ++i) {
    int device = 0;
    LORAC_TRY(
        driver.check(driver.call().deviceGet(&device, i), "opening GPU " + std::to_string(i)));
    LORAC_TRY_ASSIGN(DeviceFacts facts, factsOf(driver, device));
    devices.push_back(std::move(facts));
  }
  return devices;
}

Result<std::shared_ptr<const Context>> Context::open() {
  LORAC_TRY_ASSIGN(std::shared_ptr<const Driver> driver, Driver::open());
  std::shared_ptr<Context> context(new Context);
  context->owner = driver;
  const DriverApi &call = context->call();
  int count = 0;
  LORAC_TRY(context->owner->check(call.deviceGetCount(&count), "counting the machine's GPUs"));
  if (count == 0)
    return Error{"no GPU can be used: the CUDA driver '" + context->owner->library() +
                 "' shows none; look at what nvidia-smi and CUDA_VISIBLE_DEVICES say, or compile "
                 "the spec with --target cpu"};
  ContextHandle handle = nullptr;
  Status status = call.deviceGet(&context->ordinal, 0);
  if (status == status::success)
    status = call.primaryCtxRetain(&handle, context->ordinal);
  if (status == status::success) {
    context->retained = true;
    status = call.ctxSetCurrent(handle);
  }
  if (status != status::success)
    return context->owner->error(status, "opening the first GPU");
  LORAC_TRY_ASSIGN(context->facts, factsOf(*context->owner, context->ordinal));
  return std::shared_ptr<const Context>(context);
}

Context::~Context() {
  if (retained)
    call().primaryCtxRelease(ordinal);
}

Result<uint64_t> Context::freeMemory() const {
  size_t free = 0, total = 0;
  LORAC_TRY(owner->check(call().memGetInfo(&free, &total), "asking for the GPU's free memory"));
  return uint64_t(free);
}

} // namespace lorac::gpu
