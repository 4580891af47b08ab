#include "runtime/train/ranks/Gather.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace lorac::train {

namespace {

// Packs what stays of one tensor to `to`, which is not behind the tensor: each float moves forward
// or not at all, in ascending order, so none is overwritten before it has moved.
void pack(float *region, const TripletTensor &tensor, int64_t to) {
  const float *from = region + tensor.from;
  float *out = region + to;
  if (tensor.byColumn) {
    for (int64_t row = 0; row < tensor.rows; ++row)
      for (int32_t place : tensor.kept)
        *out++ = from[row * tensor.columns + place];
    return;
  }
  for (int32_t place : tensor.kept) {
    std::memmove(out, from + place * tensor.columns, size_t(tensor.columns) * sizeof(float));
    out += tensor.columns;
  }
}

} // namespace

Result<std::vector<TripletTensor>> matchTensors(const std::vector<PlanParam> &before,
                                                const std::vector<PlanParam> &after,
                                                const std::vector<std::string> &modules,
                                                const TripletSets &kept) {
  std::vector<TripletTensor> tensors;
  size_t found = 0;
  for (const PlanParam &param : before) {
    TripletTensor tensor;
    tensor.from = param.offset;
    tensor.rows = param.shape.at(0);
    tensor.columns = param.shape.size() > 1 ? param.shape[1] : 1;
    tensor.byColumn = param.part == AdapterPart::B;
    auto module = std::find(modules.begin(), modules.end(), param.module);
    if (module == modules.end())
      return Error{"'" + param.name + "' belongs to no module whose ranks change", Exit::Bug};
    tensor.kept = kept[size_t(module - modules.begin())];
    const int64_t rank = tensor.byColumn ? tensor.columns : tensor.rows;
    if (!tensor.kept.empty() && tensor.kept.back() >= rank)
      return Error{"'" + param.name + "' has rank " + std::to_string(rank) + ", and triplet " +
                       std::to_string(tensor.kept.back()) + " is to stay",
                   Exit::Bug};
    auto same = std::find_if(after.begin(), after.end(),
                             [&](const PlanParam &p) { return p.name == param.name; });
    if (same == after.end()) {
      if (!tensor.kept.empty())
        return Error{"the new program has no '" + param.name + "'", Exit::Bug};
      continue;
    }
    ++found;
    if (same->count() != tensor.left())
      return Error{"'" + param.name + "' has " + std::to_string(same->count()) +
                       " values in the new program, and " + std::to_string(tensor.left()) +
                       " are to stay",
                   Exit::Bug};
    tensor.to = same->offset;
    tensors.push_back(tensor);
  }
  if (found != after.size())
    return Error{"the new program has parameters that the old one has not", Exit::Bug};
  return tensors;
}

void gatherTriplets(float *region, int64_t count, std::span<const TripletTensor> tensors) {
  std::vector<const TripletTensor *> order;
  for (const TripletTensor &tensor : tensors)
    order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const TripletTensor *l, const TripletTensor *r) { return l->from < r->from; });

  std::vector<int64_t> packed;
  int64_t end = 0;
  for (const TripletTensor *tensor : order) {
    packed.push_back(end);
    pack(region, *tensor, end);
    end += tensor->left();
  }

  // Packed, no tensor lies behind its place, if they keep their order: from the last on they move
  // back. Otherwise through a copy of what stays.
  bool ordered =
      std::is_sorted(order.begin(), order.end(),
                     [](const TripletTensor *l, const TripletTensor *r) { return l->to < r->to; });
  std::vector<float> copy;
  if (!ordered)
    copy.assign(region, region + end);
  const float *from = ordered ? region : copy.data();
  for (size_t i = order.size(); i-- > 0;) {
    assert((!ordered || order[i]->to >= packed[i]) && "tensors do not overlap");
    std::memmove(region + order[i]->to, from + packed[i], size_t(order[i]->left()) * sizeof(float));
  }

  std::sort(order.begin(), order.end(),
            [](const TripletTensor *l, const TripletTensor *r) { return l->to < r->to; });
  int64_t done = 0;
  for (const TripletTensor *tensor : order) {
    std::fill(region + done, region + std::max(done, tensor->to), 0.0f);
    done = tensor->to + tensor->left();
  }
  std::fill(region + std::min(done, count), region + count, 0.0f);
}

} // namespace lorac::train
