#include "runtime/train/Weights.h"

#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/RowLayout.h"

#include <algorithm>
#include <cmath>

namespace lorac::train {

namespace {

struct Shape {
  int64_t n, k;
};

/// Rows and columns for the packer: a vector is [n] with one row of n values.
Shape matrixShape(const PlanWeight &weight) {
  return {weight.shape[0], weight.shape.size() == 2 ? weight.shape[1] : 1};
}

/// The plan's parts against those that the format has, in panels or by rows.
Result<formats::WeightFormat> checkParts(const PlanWeight &weight, bool byRows) {
  auto misfit = [&](const std::string &what) {
    return Error{"plan.json: weight '" + weight.name + "' " + what + "; compile the spec again",
                 Exit::ForeignFile};
  };
  std::optional<formats::WeightFormat> format = formats::parseWeightFormat(weight.format);
  if (!format)
    return misfit("has the format '" + weight.format + "', which this program does not know");
  auto [n, k] = matrixShape(weight);
  bool isVector = format->kind == formats::WeightFormat::Vector;
  if (isVector != (weight.shape.size() == 1) || !formats::formatFits(*format, n, k))
    return misfit("does not fit its format '" + weight.format + "'");
  if (int(weight.parts.size()) != formats::partCount(*format))
    return misfit("has " + std::to_string(weight.parts.size()) + " parts, '" + weight.format +
                  "' has " + std::to_string(formats::partCount(*format)));
  for (int i = 0; i < int(weight.parts.size()); ++i)
    if (int64_t bytes =
            byRows ? formats::rowPartBytes(*format, i, n, k) : formats::partBytes(*format, i, n, k);
        weight.parts[size_t(i)].bytes != bytes)
      return misfit("has the part '" + weight.parts[size_t(i)].name + "' of " +
                    std::to_string(weight.parts[size_t(i)].bytes) + " bytes, expected " +
                    std::to_string(bytes));
  return *format;
}

} // namespace

Result<WeightRows> openWeights(const Plan &plan, const std::string &source, uint64_t seed) {
  WeightRows out;
  for (const PlanWeight &weight : plan.weights) {
    LORAC_TRY_ASSIGN(formats::WeightFormat format, checkParts(weight, plan.onGpu()));
    out.formats.push_back(format);
  }
  if (source.empty()) {
    for (const PlanWeight &weight : plan.weights)
      out.rows.push_back(formats::seededRows(seed, weight.name, weight.shape));
    return out;
  }
  LORAC_TRY_ASSIGN(auto model, formats::ModelSource::open(source));
  std::vector<formats::WantedWeight> wanted;
  for (const PlanWeight &weight : plan.weights)
    wanted.push_back({weight.name, weight.gguf, weight.shape, weight.permuteHeads, weight.hfAdd});
  LORAC_TRY_ASSIGN(out.rows, model->find(wanted));
  LORAC_TRY(model->checkNothingElse(wanted));
  return out;
}

Error weightError(const std::string &source, const PlanWeight &weight, const Error &error) {
  return {(source.empty() ? "" : "model '" + source + "': ") + "weight '" + weight.name +
              "': " + error.message,
          error.code};
}

formats::ParallelFor parallelOver(ThreadPool &pool) {
  return [&pool](int64_t count, const std::function<void(int64_t, int64_t)> &body) {
    pool.parallelFor(count, Split::Shares,
                     [&](int, int64_t begin, int64_t end) { body(begin, end); });
  };
}

std::string hashWeight(const PlanWeight &weight, const std::vector<void *> &parts) {
  formats::Hasher hasher;
  for (size_t p = 0; p < parts.size(); ++p)
    hasher.add(parts[p], size_t(weight.parts[p].bytes));
  return hasher.hex();
}

std::string hashModel(const std::vector<std::string> &hashesOfWeights) {
  formats::Hasher all;
  for (const std::string &hash : hashesOfWeights)
    all.add(hash);
  return all.hex();
}

Result<WeightStore> WeightStore::load(const Plan &plan, const std::string &source, uint64_t seed,
                                      ThreadPool &pool) {
  LORAC_TRY_ASSIGN(WeightRows from, openWeights(plan, source, seed));
  WeightStore store;
  LORAC_TRY_ASSIGN(store.memory,
                   Arena::allocate(uint64_t(plan.weightBytes()), "the frozen weights"));
  const formats::ParallelFor parallel = parallelOver(pool);
  int64_t offset = 0;
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    std::vector<void *> &parts = store.parts.emplace_back();
    for (const PlanPart &part : plan.weights[w].parts) {
      parts.push_back(store.memory.at<void>(offset));
      offset += plan.partRoom(part.bytes);
    }
    Result<void> packed = formats::packWeight(*from.rows[w], from.formats[w], parts, parallel);
    if (!packed)
      return weightError(source, plan.weights[w], packed.error());
    from.rows[w].reset();
  }

  // Each weight by itself on some thread, then the list of hashes: no order of threads is in it.
  std::vector<std::string> hashes(plan.weights.size());
  pool.parallelFor(int64_t(hashes.size()), Split::Dynamic, [&](int, int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; ++w)
      hashes[size_t(w)] = hashWeight(plan.weights[size_t(w)], store.parts[size_t(w)]);
  });
  store.digest = hashModel(hashes);
  return store;
}

void fillTable(const PlanTable &table, float *out) {
  if (table.kind != dynamic8Table)
    return fillRopeTable(table, out);
  for (const formats::Dynamic8 kind : {formats::Dynamic8::Signed, formats::Dynamic8::Unsigned}) {
    const formats::DynamicTable values = formats::dynamicTable(kind);
    out = std::copy(values.begin(), values.end(), out);
  }
}

void fillRopeTable(const PlanTable &table, float *out) {
  int64_t half = table.dim / 2;
  for (int64_t position = 0; position < table.positions; ++position)
    for (int64_t i = 0; i < half; ++i) {
      float angle = float(position) * table.frequencies[size_t(i)];
      float *row = out + position * table.dim;
      row[i] = float(std::cos(double(angle))) * table.factor;
      row[half + i] = float(std::sin(double(angle))) * table.factor;
    }
}

} // namespace lorac::train
