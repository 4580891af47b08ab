#include "runtime/train/CudaExecutor.h"

#include <algorithm>
#include <map>

namespace lorac::train {

namespace {

std::vector<gpu::KernelBinary> binariesOf(const Plan &plan, const Payload &payload,
                                          const std::string &kernel) {
  std::vector<gpu::KernelBinary> binaries;
  for (const PlanArch &arch : plan.archs) {
    const std::string path = "kernels/" + arch.name + "/" + kernel;
    gpu::KernelBinary binary{arch.capability, arch.exact, payload.file(path + ".cubin"),
                             payload.file(path + ".ptx")};
    if (!binary.cubin.empty() || !binary.ptx.empty())
      binaries.push_back(binary);
  }
  return binaries;
}

} // namespace

Result<CudaExecutor> CudaExecutor::load(const Plan &plan, const Payload &payload,
                                        std::shared_ptr<const gpu::Context> context) {
  CudaExecutor executor;
  executor.context = context;
  executor.waitEach = gpu::waitsForEachLaunch();
  for (const PlanKernel &kernel : plan.kernels) {
    const std::vector<gpu::KernelBinary> binaries = binariesOf(plan, payload, kernel.name);
    if (binaries.empty())
      return Error{"this program carries no binary of kernel '" + kernel.name +
                       "'; compile the spec again",
                   Exit::ForeignFile};
    LORAC_TRY_ASSIGN(
        gpu::LoadedKernel loaded,
        gpu::LoadedKernel::load(context, kernel.name, binaries, {kernel.threads, kernel.shared}));
    executor.kernels.push_back(std::move(loaded));
  }
  return executor;
}

Result<void> CudaExecutor::prepare(const Plan &plan, gpu::DevicePtr arena,
                                   const WeightPart &weightPart) {
  size_t counter = 0;
  for (size_t p = 0; p < programCount; ++p)
    for (const PlanLaunch &from : plan.*programsOfPlan[p].launches) {
      Launch launch;
      launch.function = kernels[size_t(from.kernel)].function();
      for (const PlanArg &arg : from.args)
        launch.values.push_back(arg.weight < 0 ? arena + uint64_t(arg.offset)
                                               : weightPart(arg.weight, arg.part));
      launch.values.push_back(arena + uint64_t(plan.io.step));
      // The last ones are ints: their low bytes come first.
      launch.values.push_back(uint64_t(from.fixedRows ? -1 : from.rowBegin));
      launch.values.push_back(uint64_t(from.rowCount));
      launch.values.insert(launch.values.end(), from.scalars.begin(), from.scalars.end());
      for (uint64_t &value : launch.values)
        launch.arguments.push_back(&value);
      launch.plan = &from;
      launch.kernel = &plan.kernels[size_t(from.kernel)];
      if (auto takes = kernels[size_t(from.kernel)].parameters();
          takes && *takes != launch.values.size())
        return Error{"plan.json: a launch gives " + shown(launch) + " " +
                         std::to_string(launch.values.size()) + " arguments, it takes " +
                         std::to_string(*takes) + "; compile the spec again",
                     Exit::ForeignFile};
      launch.counter = counter++;
      programs[p].push_back(std::move(launch));
    }
  return {};
}

std::string CudaExecutor::shown(const Launch &launch) const {
  std::string text = "kernel '" + launch.kernel->name + "'";
  if (!launch.plan->op.empty())
    text += " of " + launch.plan->op;
  if (!launch.plan->loc.empty())
    text += " at " + launch.plan->loc;
  return text;
}

Result<void> CudaExecutor::launch(const Launch &launch, const gpu::Stream &stream) const {
  const auto &grid = launch.plan->grid;
  const gpu::Status status = context->call().launchKernel(
      launch.function, unsigned(grid[0]), unsigned(grid[1]), unsigned(grid[2]),
      unsigned(launch.kernel->threads), 1, 1, unsigned(launch.kernel->shared), stream.get(),
      const_cast<void **>(launch.arguments.data()), nullptr);
  if (status != gpu::status::success)
    return context->driver().error(status, "launching " + shown(launch));
  if (waitEach)
    if (Result<void> waited = stream.wait(); !waited)
      return Error{shown(launch) + " failed: " + waited.error().message, waited.error().code};
  return {};
}

Result<void> CudaExecutor::run(Program program, const gpu::Stream &stream, int64_t tokens,
                               std::vector<LaunchCount> *timed) {
  if (timed)
    return runTimed(program, stream, tokens, *timed);
  for (const Launch &each : programs[size_t(program)])
    LORAC_TRY(launch(each, stream));
  return {};
}

Result<void> CudaExecutor::runTimed(Program program, const gpu::Stream &stream, int64_t tokens,
                                    std::vector<LaunchCount> &counts) {
  const std::vector<Launch> &launches = programs[size_t(program)];
  while (events.size() < launches.size() + 1) {
    LORAC_TRY_ASSIGN(gpu::Event event, gpu::Event::create(context, /*timed=*/true));
    events.push_back(std::move(event));
  }
  Result<void> done = stream.mark(events[0]);
  for (size_t i = 0; i < launches.size() && done; ++i) {
    done = launch(launches[i], stream);
    if (done)
      done = stream.mark(events[i + 1]);
  }
  if (done)
    done = stream.wait();
  if (!done)
    return done;
  for (size_t i = 0; i < launches.size(); ++i) {
    LORAC_TRY_ASSIGN(double seconds, events[i + 1].secondsSince(events[i]));
    const PlanLaunch &from = *launches[i].plan;
    const int64_t rows = from.fixedRows
                             ? from.rowCount
                             : std::clamp<int64_t>(tokens - from.rowBegin, 0, from.rowCount);
    const double share = from.rowCount > 0 ? double(rows) / double(from.rowCount) : 1.0;
    LaunchCount &count = counts[launches[i].counter];
    ++count.calls;
    count.seconds += seconds;
    count.flops += from.flops * share;
    count.bytes += from.bytes * share;
  }
  return {};
}

std::string CudaExecutor::kernelsShown() const {
  std::map<std::string, int> forms;
  for (const gpu::LoadedKernel &kernel : kernels)
    ++forms[(kernel.fromPtx() ? "PTX of sm_" : "cubins of sm_") +
            std::to_string(kernel.architecture()) +
            (kernel.fromPtx() ? ", compiled by the driver" : "")];
  std::string text = std::to_string(kernels.size()) + " kernels: ";
  bool first = true;
  for (const auto &[form, count] : forms) {
    text += first ? "" : "; ";
    text += forms.size() > 1 ? std::to_string(count) + " " + form : form;
    first = false;
  }
  return text;
}

} // namespace lorac::train
