#include "runtime/train/CheckpointTriplets.h"

#include "runtime/formats/Safetensors.h"
#include "runtime/train/Checkpoint.h"

#include <cstring>
#include <filesystem>
#include <span>

namespace lorac::train {

namespace {

bool sameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// One module's live triplets among those that are stored: the adapter's rows of A, bit for bit and
/// in order, whose columns of B come out as the adapter's. False: the checkpoint has others.
bool unfold(formats::AdapterModule &module, const std::vector<float> &a,
            const std::vector<float> &b, const std::vector<float> &e) {
  const size_t stored = e.size(), in = size_t(module.in), out = size_t(module.out);
  if (a.size() != stored * in || b.size() != stored * out)
    return false;
  formats::AdapterModule whole = module;
  whole.e.clear();
  size_t place = 0;
  for (size_t i = 0; i < size_t(module.rank); ++i, ++place) {
    const std::span<const float> row(module.a.data() + i * in, in);
    while (place < stored && !sameBits(row, {a.data() + place * in, in}))
      ++place;
    if (place == stored)
      return false;
    whole.e.push_back(e[place]);
    for (size_t j = 0; j < out; ++j) {
      whole.b[j * size_t(module.rank) + i] = b[j * stored + place];
      if (b[j * stored + place] * e[place] != module.b[j * size_t(module.rank) + i])
        return false;
    }
  }
  module = std::move(whole);
  return true;
}

} // namespace

Result<std::optional<formats::Adapter>> checkpointTriplets(const std::string &folder,
                                                           const formats::Adapter &adapter) {
  std::string path = folder + "/optimizer.safetensors";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    LORAC_TRY_ASSIGN(const std::vector<std::string> checkpoints, listCheckpoints(folder));
    if (checkpoints.empty())
      return std::optional<formats::Adapter>();
    path = checkpoints.front() + "/optimizer.safetensors";
  }
  const CheckpointFacts facts = inspectCheckpoint(path.substr(0, path.rfind('/')), false, true);
  if (facts.damage)
    return *facts.damage;
  LORAC_TRY_ASSIGN(formats::Safetensors file, formats::Safetensors::open(path));
  formats::Adapter out = formats::asTriplets(adapter);
  for (formats::AdapterModule &module : out.modules) {
    const std::string name = "param." + module.module + ".lora_";
    if (!file.find(name + "E.weight"))
      return std::optional<formats::Adapter>();
    Result<std::vector<float>> a = file.floats(name + "A.weight"),
                               b = file.floats(name + "B.weight"),
                               e = file.floats(name + "E.weight");
    for (const auto *values : {&a, &b, &e})
      if (!*values)
        return values->error();
    if (!unfold(module, *a, *b, *e))
      return std::optional<formats::Adapter>();
  }
  return std::optional(std::move(out));
}

} // namespace lorac::train
