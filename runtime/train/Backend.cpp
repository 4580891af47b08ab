#include "runtime/train/Backend.h"

#include "runtime/train/StateStorage.h"
#include "runtime/train/Weights.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <utility>

namespace lorac::train {

static std::vector<LoracTriplets> tableOf(const std::vector<TripletLayout> &layouts) {
  std::vector<LoracTriplets> table;
  int32_t unfolded = 0, first = 0;
  for (const TripletLayout &at : layouts) {
    table.push_back({int32_t(at.a), int32_t(at.b), int32_t(at.e), int32_t(at.rank), int32_t(at.in),
                     int32_t(at.out), unfolded, first});
    unfolded += int32_t(at.out * at.rank);
    first += int32_t(at.rank);
  }
  return table;
}

Result<std::unique_ptr<Backend>> Backend::open(const BackendInput &input,
                                               const DeviceOpener &opener) {
  LORAC_TRY_ASSIGN(auto device, opener(input));
  std::unique_ptr<Backend> backend(new Backend(input.plan, std::move(device)));
  LORAC_TRY(backend->fill(input.plan));
  return backend;
}

// What the arena holds before a program's first step besides zeros: rope, maps of 8-bit numbers,
// the spans that kernels over elements go over, and where triplets lie.
Result<void> Backend::fill(const Plan &of) {
  isFolded = gradsAreFolded = false;
  tripletStates.clear();
  triplets.clear();
  if (of.ranks) {
    LORAC_TRY_ASSIGN(triplets, tripletLayouts(of.params, of.ranks->names()));
  }
  auto put = [&](int64_t offset, const auto &values) {
    return on->write(offset, values.data(), int64_t(values.size() * sizeof(values[0])));
  };
  Result<void> done;
  if (of.trains())
    done = put(of.io.updateSpans, of.spans());
  if (done && of.hasTriplets())
    done = put(of.io.triplets, tableOf(triplets));
  if (done && of.hasTriplets() && of.hasCodes())
    done = put(of.io.tripletOwns, tripletOwns(of, triplets));
  for (const PlanTable &table : of.tables) {
    std::vector<float> values(size_t(table.positions * table.dim));
    fillTable(table, values.data());
    if (done)
      done = put(table.offset, values);
  }
  return done;
}

template <typename T>
Result<T *> Backend::at(int64_t offset, int64_t count) {
  LORAC_TRY_ASSIGN(auto *bytes, on->read(offset, count * int64_t(sizeof(T))));
  return reinterpret_cast<T *>(bytes);
}

Result<void> Backend::run(Program program, const LoracStep &step) {
  // The loss divided by the labels of a window has gradients below what f16 holds: each token's
  // loss counts about one there, and the optimizer takes the power of two out again.
  LoracStep scaled = step;
  if (program == Program::Train && plan.compute == "f16") {
    const float raised = std::exp2(-std::floor(std::log2(step.loss_scale)));
    scaled.loss_scale *= raised;
    gradientScale = 1 / raised;
  }
  LORAC_TRY(fold());
  gradsAreFolded |= program == Program::Train;
  return on->run(program, scaled);
}

// The update is B·diag(E)·A: as one of LoRA with B·diag(E) for B.
Result<void> Backend::fold() {
  if (triplets.empty() || isFolded)
    return {};
  isFolded = true;
  return on->run(Program::Fold, {});
}

// B is itself again, and of the gradient by B·diag(E) become those by B and E.
Result<void> Backend::unfold() {
  if (triplets.empty() || !isFolded)
    return {};
  Result<void> done = on->run(Program::Unfold, {});
  if (done && gradsAreFolded)
    done = on->run(Program::UnfoldGrads, {});
  isFolded = gradsAreFolded = false;
  return done;
}

Result<const float *> Backend::rowLoss(int64_t tokens) {
  LORAC_TRY_ASSIGN(float *losses, at<float>(plan.io.rowLoss, tokens));
  return static_cast<const float *>(losses);
}

// Hidden rows [row, row + count) to the rows of head_in from `place` on.
Result<void> Backend::copyToHead(int64_t place, int64_t row, int64_t count) {
  const int64_t bytes = plan.activationBytes() * Plan::leadingDim(plan.hiddenSize);
  return on->copy(plan.io.headIn + place * bytes, plan.io.hidden + row * bytes, count * bytes);
}

Result<const float *> Backend::runHead(const LoracStep &step) {
  LORAC_TRY(run(Program::Head, step));
  LORAC_TRY_ASSIGN(float *logits,
                   at<float>(plan.io.logits, step.tokens * Plan::leadingDim(plan.vocab)));
  return static_cast<const float *>(logits);
}

Result<const float *> Backend::logits(int64_t begin, const LoracStep &step) {
  LORAC_TRY(copyToHead(0, begin, step.tokens));
  return runHead(step);
}

Result<const float *> Backend::logits(std::span<const int64_t> rows, const LoracStep &step) {
  for (size_t i = 0; i < rows.size(); ++i)
    LORAC_TRY(copyToHead(int64_t(i), rows[i], 1));
  return runHead(step);
}

Result<void> Backend::zeroGrads() {
  gradsAreFolded = false;
  return plan.optimizer ? on->run(Program::Begin, {}) : Result<void>();
}

Result<double> Backend::regularize() {
  if (triplets.empty())
    return 0.0;
  Result<void> done = unfold();
  // The term counts once a step; its gradients are raised as those that they are added to.
  LoracStep once{};
  once.loss_scale = 1 / gradientScale;
  if (done)
    done = on->run(Program::Regularize, once);
  if (!done)
    return done.error();
  // A module at rank 0 has no factors and counts in the mean.
  const auto have = 2 * std::count_if(triplets.begin(), triplets.end(),
                                      [](const TripletLayout &at) { return at.rank > 0; });
  LORAC_TRY_ASSIGN(float *norms, at<float>(plan.io.orthogonality, have));
  double sum = 0;
  for (int64_t i = 0; i < have; ++i)
    sum += double(norms[i]);
  return sum / double(2 * triplets.size());
}

Result<float> Backend::gradNorm(double maxNorm) {
  if (!plan.optimizer)
    return 0.0f;
  const LoracNorm told = {float(maxNorm), gradientScale, 0, 0};
  Result<void> done = unfold();
  if (done)
    done = on->write(plan.io.norm, &told, sizeof told);
  if (done)
    done = on->run(Program::Norm, {});
  if (!done)
    return done.error();
  LORAC_TRY_ASSIGN(auto *norm, at<LoracNorm>(plan.io.norm, 1));
  return norm->norm;
}

Result<void> Backend::update(const std::vector<float> &scalars) {
  if (!plan.optimizer)
    return {};
  assert(int64_t(scalars.size()) == plan.updateScalars.floats && "of stepScalars");
  Result<void> done = unfold();
  if (done)
    done = on->write(plan.io.update, scalars.data(), int64_t(scalars.size() * sizeof(float)));
  return done ? on->run(Program::Update, {}) : done;
}

Result<void> Backend::takeImportance(const std::vector<float> &scalars) {
  if (!plan.hasTriplets())
    return {};
  assert(int64_t(scalars.size()) == plan.importanceScalars.floats && "of stepScalars");
  Result<void> done = unfold();
  if (done)
    done = on->write(plan.io.importance, scalars.data(), int64_t(scalars.size() * sizeof(float)));
  return done ? on->run(Program::Importance, {}) : done;
}

Result<std::vector<float>> Backend::tripletScores() {
  LORAC_TRY(on->run(Program::Scores, {}));
  const int64_t count = plan.tripletCount();
  LORAC_TRY_ASSIGN(float *scores, at<float>(plan.io.tripletScores, count));
  return std::vector<float>(scores, scores + count);
}

Result<void> Backend::zeroTriplets(const TripletSets &died, const TripletSets &masked) {
  std::vector<int32_t> states;
  bool anyFalls = false;
  for (size_t m = 0; m < triplets.size(); ++m) {
    const size_t first = states.size();
    states.resize(first + size_t(triplets[m].rank), LORAC_TRIPLET_ALIVE);
    for (int32_t place : masked[m])
      states[first + size_t(place)] = LORAC_TRIPLET_MASKED;
    for (int32_t place : died[m])
      states[first + size_t(place)] = LORAC_TRIPLET_DEAD;
    anyFalls |= !masked[m].empty() || !died[m].empty();
  }
  if (!anyFalls)
    return {};
  Result<void> done = unfold();
  if (done && states != tripletStates) {
    tripletStates = std::move(states);
    done =
        on->write(plan.io.tripletStates, tripletStates.data(), 4 * int64_t(tripletStates.size()));
  }
  return done ? on->run(Program::ZeroTriplets, {}) : done;
}

Result<void> Backend::adopt(const Payload &program, const Plan &next, const TripletSets *kept) {
  std::vector<TripletTensor> tensors;
  if (kept) {
    LORAC_TRY_ASSIGN(tensors, matchTensors(plan.params, next.params, plan.ranks->names(), *kept));
    LORAC_TRY(unfold());
  }
  if (next.ranks) // what is no plan of triplets is refused while the old program stands
    LORAC_TRY(tripletLayouts(next.params, next.ranks->names()));
  LORAC_TRY(on->adopt(program, next, kept ? &tensors : nullptr));
  if (Result<void> filled = fill(next); !filled) // the old program is gone
    return Error{filled.error().message, Exit::DoesNotFit};
  return {};
}

Result<TrainedFloats> Backend::read() {
  LORAC_TRY(unfold());
  trained.clear();
  TrainedFloats out;
  for (const PlanRegion &region : plan.trained()) {
    LORAC_TRY_ASSIGN(auto *bytes, on->read(region.offset, region.bytes()));
    trained.push_back(bytes);
    auto *floats = reinterpret_cast<float *>(bytes);
    if (region.kind == RegionKind::Params)
      out.params = floats;
    else if (isCode(region.storage))
      out.others.push_back({region.name, nullptr, reinterpret_cast<uint8_t *>(bytes)});
    else
      out.others.push_back({region.name, floats});
  }
  return out;
}

Result<void> Backend::write() {
  const std::vector<PlanRegion> regions = plan.trained();
  assert(trained.size() == regions.size() && "read before");
  for (size_t i = 0; i < regions.size(); ++i)
    LORAC_TRY(on->write(regions[i].offset, trained[i], regions[i].bytes()));
  return {};
}

Result<const float *> Backend::grads() {
  LORAC_TRY(unfold());
  const int64_t count = plan.region(RegionKind::Grads).count;
  LORAC_TRY_ASSIGN(float *floats, at<float>(plan.region(RegionKind::Grads).offset, count));
  if (gradientScale != 1) // a GPU's: a copy
    for (int64_t i = 0; i < count; ++i)
      floats[i] *= gradientScale;
  return static_cast<const float *>(floats);
}

} // namespace lorac::train
