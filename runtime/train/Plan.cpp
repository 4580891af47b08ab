#include "runtime/train/Plan.h"

#include "runtime/abi.h"
#include "runtime/train/JsonFields.h"

#include <algorithm>

namespace lorac::train {

namespace {

constexpr int64_t maxBytes = int64_t(1) << 46;
constexpr int64_t maxCount = int64_t(1) << 40;

std::vector<int64_t> readShape(const Fields &list) {
  std::vector<int64_t> shape;
  int64_t product = 1;
  list.forEach([&](const Fields &dim) {
    shape.push_back(dim.asInteger(1, maxCount));
    if (product > maxCount / shape.back())
      dim.fail("makes the shape too large");
    else
      product *= shape.back();
  });
  if (shape.empty() || shape.size() > 2)
    list.fail("needs one or two dimensions");
  return shape;
}

PlanWeight readWeight(const Fields &in) {
  PlanWeight weight;
  weight.name = in.text("name");
  weight.gguf = in.textOr("gguf", "");
  weight.format = in.text("format");
  weight.shape = readShape(in.at("shape"));
  weight.permuteHeads = in.integerOr("permute_heads", 0);
  in.at("parts").forEach([&](const Fields &part) {
    weight.parts.push_back({part.text("name"), part.integer("bytes", 0, maxBytes)});
  });
  if (weight.parts.empty())
    in.fail("has no parts");
  return weight;
}

PlanParam readParam(const Fields &in, const PlanRegion &region) {
  PlanParam param;
  param.name = in.text("name");
  param.module = in.text("module");
  param.group = in.text("group");
  param.shape = readShape(in.at("shape"));
  param.offset = in.integer("offset", 0, region.count);
  param.rank = in.integer("rank", 0, maxCount);
  param.scale = in.number("scale");
  if (param.count() > region.count - param.offset)
    in.fail("ends behind the region of " + std::to_string(region.count) + " parameters");
  return param;
}

PlanKernel readKernel(const Fields &in, int64_t scratchBytes) {
  PlanKernel kernel;
  kernel.name = in.text("name");
  kernel.family = in.text("family");
  Fields tiles = in.at("tiles");
  std::string space = tiles.text("space");
  if (space == "rows")
    kernel.tiles.space = PlanTiles::Rows;
  else if (space == "const")
    kernel.tiles.space = PlanTiles::Const;
  else if (space == "segments")
    kernel.tiles.space = PlanTiles::Segments;
  else
    tiles.fail("has the space '" + space + "'; known: rows, const, segments");
  if (kernel.tiles.space == PlanTiles::Rows)
    kernel.tiles.tile = tiles.integer("tile", 1, maxCount);
  else
    kernel.tiles.count = tiles.integer("count", 0, maxCount);
  kernel.scratch = in.has("scratch") ? in.integer("scratch", 0, scratchBytes) : 0;
  return kernel;
}

PlanLaunch readLaunch(const Fields &in, const Plan &plan, int64_t maxRows) {
  PlanLaunch launch;
  launch.kernel = int32_t(in.integer("kernel", 0, int64_t(plan.kernels.size()) - 1));
  in.at("args").forEach([&](const Fields &arg) {
    PlanArg read;
    if (!arg.json().is_array()) {
      read.offset = arg.asInteger(0, plan.arenaBytes);
    } else if (arg.size() == 3 && arg.json()[0] == "w") {
      std::vector<int64_t> index;
      arg.forEach([&](const Fields &item) {
        if (!item.json().is_string())
          index.push_back(item.asInteger(0, maxCount));
      });
      if (index.size() != 2 || index[0] >= int64_t(plan.weights.size()) ||
          index[1] >= int64_t(plan.weights[size_t(index[0])].parts.size()))
        return arg.fail("names no weight's part");
      read.weight = int32_t(index[0]);
      read.part = int32_t(index[1]);
    } else {
      return arg.fail("is neither an offset nor [\"w\", weight, part]");
    }
    launch.args.push_back(read);
  });
  if (in.has("rows")) {
    std::vector<int64_t> rows;
    // Rows that are no tokens are those of a weight's gradient.
    launch.fixedRows = in.truthOr("fixed", false);
    int64_t most = launch.fixedRows ? maxCount : maxRows;
    in.at("rows").forEach([&](const Fields &row) { rows.push_back(row.asInteger(0, most)); });
    if (rows.size() != 2)
      in.at("rows").fail("needs [begin, count]");
    else
      launch.rowBegin = rows[0], launch.rowCount = rows[1];
  } else {
    launch.rowCount = maxRows;
  }
  launch.flops = in.numberOr("flops", 0);
  launch.bytes = in.numberOr("bytes", 0);
  launch.op = in.textOr("op", "");
  launch.loc = in.textOr("loc", "");
  return launch;
}

struct Extent {
  const char *name;
  int64_t offset, bytes;
};

/// Every buffer that the runtime itself touches lies inside the arena; those it writes do not
/// overlap.
void checkExtents(const Plan &plan, const Fields &root) {
  int64_t tokens = plan.maxTokens;
  int64_t hiddenRow = 4 * Plan::leadingDim(plan.hiddenSize),
          logitRow = 4 * Plan::leadingDim(plan.vocab);
  int64_t n = plan.paramRegion.count;
  std::vector<Extent> own = {
      {"arena.params", plan.paramRegion.offset, 4 * n},
      {"arena.grads", plan.gradRegion.offset, 4 * n},
      {"arena.exp_avg", plan.expAvg.offset, 4 * n},
      {"arena.exp_avg_sq", plan.expAvgSq.offset, 4 * n},
      {"io.ids", plan.io.ids, 4 * tokens},
      {"io.positions", plan.io.positions, 4 * tokens},
      {"io.labels", plan.io.labels, 4 * tokens},
      {"io.segment_starts", plan.io.segmentStarts, 4 * (plan.maxSegments + 1)},
      {"io.row_loss", plan.io.rowLoss, 4 * tokens},
  };
  for (const PlanTable &table : plan.tables)
    own.push_back({"tables", table.offset, 4 * table.positions * table.dim});
  std::vector<Extent> shared = {{"io.hidden", plan.io.hidden, tokens * hiddenRow},
                                {"io.head_in", plan.io.headIn, plan.headRows * hiddenRow},
                                {"io.logits", plan.io.logits, plan.headRows * logitRow}};
  for (const std::vector<Extent> *list : {&own, &shared})
    for (const Extent &extent : *list)
      if (extent.offset % 4 != 0 || extent.bytes > plan.arenaBytes - extent.offset)
        root.fail(std::string("has '") + extent.name + "' at " + std::to_string(extent.offset) +
                  " + " + std::to_string(extent.bytes) + " bytes, outside of the arena of " +
                  std::to_string(plan.arenaBytes) + " or unaligned");
  for (std::vector<Extent> *list : {&own, &shared}) {
    std::sort(list->begin(), list->end(),
              [](const Extent &a, const Extent &b) { return a.offset < b.offset; });
    int64_t end = 0;
    const char *last = "";
    for (const Extent &extent : *list) {
      if (extent.bytes == 0)
        continue;
      if (extent.offset < end)
        root.fail(std::string("has '") + extent.name + "' overlapping '" + last + "'");
      end = extent.offset + extent.bytes;
      last = extent.name;
    }
  }
}

PlanRegion readRegion(const Fields &in) {
  return {in.integer("offset", 0, maxBytes), in.integer("count", 0, maxCount)};
}

} // namespace

int64_t PlanParam::count() const {
  int64_t product = 1;
  for (int64_t dim : shape)
    product *= dim;
  return product;
}

int64_t Plan::weightBytes() const {
  int64_t sum = 0;
  for (const PlanWeight &weight : weights)
    for (const PlanPart &part : weight.parts)
      sum += (part.bytes + 63) / 64 * 64;
  return sum;
}

Result<Plan> parsePlan(std::string_view text) {
  Result<Json> json = parseJson(text, "plan.json");
  if (!json)
    return json.error();
  std::string error;
  Fields root(*json, "plan", error);
  Plan plan;

  int64_t abi = root.integer("abi", 0, maxCount);
  if (error.empty() && abi != LORAC_ABI_VERSION)
    return Error{"plan.json is of ABI " + std::to_string(abi) + ", this program runs ABI " +
                     std::to_string(LORAC_ABI_VERSION) + "; compile the spec again",
                 Exit::ForeignFile};
  plan.version = root.textOr("lorac", "");
  plan.spec = root.text("spec");
  Fields target = root.at("target");
  plan.device = target.text("device");
  plan.cpu = target.textOr("cpu", "");
  if (target.has("features"))
    target.at("features").forEach([&](const Fields &name) {
      plan.features.push_back(name.asText());
    });
  Fields limits = root.at("limits");
  plan.maxTokens = limits.integer("max_tokens", 1, 1 << 28);
  plan.maxSegments = limits.integer("max_segments", 1, 1 << 28);
  plan.maxLength = limits.integer("max_length", 1, plan.maxTokens);
  plan.headRows = limits.integer("head_rows", 1, plan.maxTokens);
  plan.vocab = limits.integer("vocab", 1, 1 << 28);
  plan.architecture = root.maybe("model").textOr("architecture", "");

  root.at("weights").forEach([&](const Fields &in) { plan.weights.push_back(readWeight(in)); });
  for (const PlanWeight &weight : plan.weights)
    if (plan.hiddenSize == 0 && weight.shape.size() == 2 && weight.shape[0] == plan.vocab)
      plan.hiddenSize = weight.shape[1];
  if (plan.hiddenSize == 0)
    root.fail("has no weight with as many rows as 'limits.vocab'");

  Fields arena = root.at("arena");
  plan.arenaBytes = arena.integer("bytes", 0, maxBytes);
  plan.scratchBytes = arena.integer("scratch_bytes", 0, maxBytes);
  plan.paramRegion = readRegion(arena.at("params"));
  plan.gradRegion = readRegion(arena.at("grads"));
  plan.expAvg = readRegion(arena.at("exp_avg"));
  plan.expAvgSq = readRegion(arena.at("exp_avg_sq"));
  for (const PlanRegion *region : {&plan.gradRegion, &plan.expAvg, &plan.expAvgSq})
    if (region->count != plan.paramRegion.count)
      arena.fail("has regions of different counts");
  root.at("params").forEach(
      [&](const Fields &in) { plan.params.push_back(readParam(in, plan.paramRegion)); });

  Fields io = root.at("io");
  auto offset = [&](const char *key) { return io.integer(key, 0, maxBytes); };
  plan.io = {offset("ids"),      offset("positions"), offset("labels"),  offset("segment_starts"),
             offset("row_loss"), offset("hidden"),    offset("head_in"), offset("logits")};
  if (root.has("tables"))
    root.at("tables").forEach([&](const Fields &in) {
      PlanTable table{in.text("kind"), in.integer("offset", 0, maxBytes),
                      in.integer("positions", 1, 1 << 28), in.integer("dim", 2, 1 << 20),
                      in.number("theta")};
      if (table.kind != "rope" || table.dim % 2 != 0 || !(table.theta > 0))
        in.fail("is not a rope table with an even dim and a positive theta");
      plan.tables.push_back(table);
    });
  root.at("kernels").forEach(
      [&](const Fields &in) { plan.kernels.push_back(readKernel(in, plan.scratchBytes)); });

  Fields programs = root.at("programs");
  auto read = [&](const char *key, int64_t maxRows, std::vector<PlanLaunch> &out) {
    programs.at(key).forEach(
        [&](const Fields &in) { out.push_back(readLaunch(in, plan, maxRows)); });
  };
  read("train", plan.maxTokens, plan.train);
  read("hidden", plan.maxTokens, plan.hidden);
  read("loss", plan.maxTokens, plan.loss);
  read("head", plan.headRows, plan.head);
  if (error.empty())
    checkExtents(plan, root);
  if (!error.empty())
    return Error{"plan.json: " + error + "; compile the spec again", Exit::ForeignFile};
  return plan;
}

} // namespace lorac::train
