#include "runtime/train/Plan.h"

#include "runtime/abi.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/PackedLayout.h"
#include "runtime/formats/RowLayout.h"
#include "runtime/formats/StateLayout.h"
#include "runtime/train/Backend.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/LaunchCheck.h"
#include "runtime/train/PlanRegions.h"
#include "runtime/train/ranks/TripletParams.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

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

/// The parts are those that the weight is packed into.
void checkParts(const Fields &in, const PlanWeight &weight, bool onGpu) {
  const auto format = formats::parseWeightFormat(weight.format);
  if (!format)
    return in.fail("has the format '" + weight.format + "', which is none");
  const int64_t n = weight.shape[0], k = weight.shape.size() > 1 ? weight.shape[1] : 1;
  if (int(weight.parts.size()) != formats::partCount(*format))
    return in.fail("has " + std::to_string(weight.parts.size()) + " parts, its format has " +
                   std::to_string(formats::partCount(*format)));
  for (size_t i = 0; i < weight.parts.size(); ++i) {
    const int64_t bytes = onGpu ? formats::rowPartBytes(*format, int(i), n, k)
                                : formats::partBytes(*format, int(i), n, k);
    if (weight.parts[i].bytes != bytes)
      return in.fail("has " + std::to_string(weight.parts[i].bytes) + " bytes as '" +
                     weight.parts[i].name + "', its shape has " + std::to_string(bytes));
  }
}

PlanWeight readWeight(const Fields &in, bool onGpu) {
  PlanWeight weight;
  weight.name = in.text("name");
  weight.gguf = in.textOr("gguf", "");
  weight.format = in.text("format");
  weight.shape = readShape(in.at("shape"));
  weight.permuteHeads = in.integerOr("permute_heads", 0);
  weight.hfAdd = in.has("hf_add") ? in.number("hf_add") : 0;
  in.at("parts").forEach([&](const Fields &part) {
    weight.parts.push_back({part.text("name"), part.integer("bytes", 0, maxBytes)});
  });
  if (weight.parts.empty())
    in.fail("has no parts");
  if (!in.failed())
    checkParts(in, weight, onGpu);
  return weight;
}

/// A number for each row of the weight: the rank is not in its shape.
bool isOfRows(AdapterPart part) {
  return part == AdapterPart::Magnitude || part == AdapterPart::Gate;
}

PlanParam readParam(const Fields &in, const PlanRegion &region) {
  PlanParam param;
  param.name = in.text("name");
  param.module = in.text("module");
  const std::string group = in.text("group");
  if (const auto part = formats::parseAdapterPart(group))
    param.part = *part;
  else
    in.fail("has the group '" + group + "', which is none");
  param.shape = readShape(in.at("shape"));
  param.offset = in.integer("offset", 0, region.count);
  param.rank = in.integer("rank", 0, maxCount);
  param.scale = in.number("scale");
  if (param.count() > region.count - param.offset)
    in.fail("ends behind the region of " + std::to_string(region.count) + " parameters");
  if (!in.failed() && !isOfRows(param.part) &&
      param.rank != param.shape[param.part == AdapterPart::B ? param.shape.size() - 1 : 0])
    in.fail("has rank " + std::to_string(param.rank) + ", and another one in its shape");
  return param;
}

PlanKernel readKernel(const Fields &in, const Plan &plan) {
  PlanKernel kernel;
  kernel.name = in.text("name");
  kernel.family = in.text("family");
  readTaken(in, kernel);
  if (plan.onGpu()) {
    kernel.threads = in.integer("threads", 32, 1024);
    kernel.shared = in.integer("shared", 0, 1 << 20);
    if (kernel.threads % 32 != 0)
      in.fail("has " + std::to_string(kernel.threads) + " threads, no multiple of 32");
    return kernel;
  }
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
  kernel.scratch = in.has("scratch") ? in.integer("scratch", 0, plan.scratchBytes) : 0;
  return kernel;
}

std::array<int64_t, 3> readGrid(const Fields &in) {
  // What a launch may have in x, y and z.
  constexpr int64_t most[3] = {(int64_t(1) << 31) - 1, 65535, 65535};
  std::array<int64_t, 3> grid = {1, 1, 1};
  size_t dims = 0;
  in.forEach([&](const Fields &dim) {
    if (dims < 3)
      grid[dims] = dim.asInteger(1, most[dims]);
    ++dims;
  });
  if (dims != 3)
    in.fail("needs [x, y, z]");
  return grid;
}

/// "sm_80", "sm_90a".
PlanArch readArch(const Fields &in) {
  PlanArch arch{in.asText()};
  std::string_view digits = arch.name;
  if (digits.starts_with("sm_"))
    digits.remove_prefix(3);
  if (digits.ends_with("a") || digits.ends_with("f")) {
    arch.exact = true;
    digits.remove_suffix(1);
  }
  const bool number = digits.size() >= 2 && digits.size() <= 4 &&
                      digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (!arch.name.starts_with("sm_") || !number)
    in.fail("is '" + arch.name + "', no architecture like 'sm_80'");
  else
    arch.capability = std::stoi(std::string(digits));
  return arch;
}

/// `maxRows` 0: a program whose rows are no tokens.
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
    launch.fixedRows = maxRows == 0 || in.truthOr("fixed", false);
    int64_t most = !launch.fixedRows ? maxRows : plan.onGpu() ? (int64_t(1) << 31) - 1 : maxCount;
    in.at("rows").forEach([&](const Fields &row) { rows.push_back(row.asInteger(0, most)); });
    if (rows.size() != 2)
      in.at("rows").fail("needs [begin, count]");
    else
      launch.rowBegin = rows[0], launch.rowCount = rows[1];
  } else {
    launch.fixedRows = maxRows == 0;
    launch.rowCount = maxRows;
  }
  if (plan.onGpu())
    launch.grid = readGrid(in.at("grid"));
  if (in.has("scalars"))
    in.at("scalars").forEach([&](const Fields &scalar) {
      launch.scalars.push_back(int32_t(scalar.asInteger(0, (int64_t(1) << 31) - 1)));
    });
  launch.flops = in.numberOr("flops", 0);
  launch.bytes = in.numberOr("bytes", 0);
  launch.op = in.textOr("op", "");
  launch.loc = in.textOr("loc", "");
  checkLaunch(in, plan, launch);
  return launch;
}

/// Places of a program's io, each of one scalar.
PlanScalars readScalars(const Fields &in, const Plan &plan) {
  constexpr int64_t most = 1 << 20;
  const auto groups = int64_t(plan.groups().size());
  PlanScalars out{in.integer("floats", 0, most), {}};
  std::vector<bool> taken(static_cast<size_t>(out.floats));
  in.at("scalars").forEach([&](const Fields &each) {
    PlanScalar scalar{each.text("name"), each.integer("at", 0, out.floats - 1),
                      each.integer("by_group", 0, most), Formula::read(each.at("formula"))};
    for (int64_t g = 0; g < (scalar.byGroup > 0 ? groups : 1) && !each.failed(); ++g) {
      const int64_t place = scalar.at + g * scalar.byGroup;
      if (place >= out.floats)
        return each.fail("has '" + scalar.name + "' of group " + std::to_string(g) + " at " +
                         std::to_string(place) + ", outside of " + std::to_string(out.floats) +
                         " floats");
      if (taken[size_t(place)])
        return each.fail("has '" + scalar.name + "' at " + std::to_string(place) +
                         ", where another one is");
      taken[size_t(place)] = true;
    }
    out.list.push_back(std::move(scalar));
  });
  return out;
}

PlanOptimizer readOptimizer(const Fields &in) {
  PlanOptimizer out{in.text("name")};
  if (in.has("min_8bit_size"))
    out.min8bitSize = in.integer("min_8bit_size", 1, int64_t(1) << 40);
  return out;
}

/// DoRA's magnitudes and gates are a number for each row of the lora_B beside them. Magnitudes
/// begin by a program; gates are there for every lora_B or for none.
void checkRows(const Fields &root, const Plan &plan) {
  bool any = false;
  int64_t gates = 0, factors = 0;
  for (const PlanParam &rows : plan.params) {
    factors += rows.part == AdapterPart::B;
    gates += rows.part == AdapterPart::Gate;
    if (!isOfRows(rows.part))
      continue;
    any |= rows.part == AdapterPart::Magnitude;
    const bool fits =
        std::any_of(plan.params.begin(), plan.params.end(), [&](const PlanParam &param) {
          return param.part == AdapterPart::B && param.module == rows.module &&
                 rows.shape == std::vector<int64_t>{param.shape[0]};
        });
    if (!fits)
      root.fail("has '" + rows.name + "', and no lora_B of as many rows beside it");
  }
  if (gates != 0 && gates != factors)
    root.fail("has a lora_gate beside some lora_B, and none beside others");
  if (any != plan.isDora())
    root.fail(any ? "has magnitudes, and no program 'initialize'"
                  : "has a program 'initialize', and no magnitudes");
}

/// A module has a part once, and no two parts lie over each other.
void checkParams(const Fields &root, const Plan &plan) {
  std::set<std::string> names;
  std::set<std::pair<std::string, AdapterPart>> parts;
  std::vector<const PlanParam *> order;
  for (const PlanParam &param : plan.params) {
    if (!names.insert(param.name).second)
      root.fail("has 'params' of the name '" + param.name + "' twice");
    if (!parts.emplace(param.module, param.part).second)
      root.fail("has '" + param.name + "' in 'params', a second " +
                std::string(formats::toString(param.part)) + " of '" + param.module + "'");
    order.push_back(&param);
  }
  std::sort(order.begin(), order.end(),
            [](const PlanParam *a, const PlanParam *b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i - 1]->offset + order[i - 1]->count() > order[i]->offset)
      root.fail("has '" + order[i]->name + "' at " + std::to_string(order[i]->offset) +
                " in 'params', overlapping '" + order[i - 1]->name + "'");
}

/// Each parameter is of a module whose ranks fall, at most at the rank that it began with.
void checkRanks(const Fields &root, const Plan &plan) {
  for (const PlanParam &param : plan.params) {
    const auto &modules = plan.ranks->modules;
    auto module = std::find_if(modules.begin(), modules.end(),
                               [&](const auto &each) { return each.module == param.module; });
    if (module == modules.end())
      root.fail("has '" + param.name + "' in 'params', and no '" + param.module +
                "' in 'ranks.modules'");
    else if (param.rank > module->initial)
      root.fail("has '" + param.name + "' in 'params' of rank " + std::to_string(param.rank) +
                ", and 'ranks.modules' has it begin with " + std::to_string(module->initial));
  }
  if (auto layouts = tripletLayouts(plan.params, plan.ranks->names()); !layouts)
    root.fail("has a module in 'params' that is not whole: " + layouts.error().message);
}

PlanRanks readRanks(const Fields &in) {
  PlanRanks ranks{in.integer("initial", 0, maxCount), in.integer("target", 0, maxCount)};
  in.at("modules").forEach([&](const Fields &module) {
    ranks.modules.push_back({module.text("module"), module.integer("initial", 1, 1 << 20),
                             module.integer("min", 0, 1 << 20), module.integer("max", 0, 1 << 20)});
    const std::string &name = ranks.modules.back().module;
    if (std::count_if(ranks.modules.begin(), ranks.modules.end(),
                      [&](const auto &other) { return other.module == name; }) > 1)
      module.fail("names '" + name + "' a second time");
  });
  return ranks;
}

} // namespace

std::vector<std::string> PlanRanks::names() const {
  std::vector<std::string> out;
  for (const Module &module : modules)
    out.push_back(module.module);
  return out;
}

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
      sum += partRoom(part.bytes);
  return sum;
}

int64_t Plan::partRoom(int64_t bytes) const {
  return onGpu() ? formats::rowPartRoom(bytes) : (bytes + 63) / 64 * 64;
}

int64_t Plan::tripletCount() const {
  int64_t sum = 0;
  for (const PlanParam &param : params)
    sum += param.part == AdapterPart::E ? param.count() : 0;
  return sum;
}

namespace {
template <typename Matches>
const PlanRegion &findRegion(const std::vector<PlanRegion> &regions, Matches matches) {
  static const PlanRegion none;
  auto found = std::find_if(regions.begin(), regions.end(), matches);
  return found == regions.end() ? none : *found;
}
} // namespace

const PlanRegion &Plan::region(RegionKind kind) const {
  return findRegion(regions, [&](const PlanRegion &each) { return each.kind == kind; });
}

const PlanRegion &Plan::region(std::string_view name) const {
  return findRegion(regions, [&](const PlanRegion &each) { return each.name == name; });
}

std::vector<PlanRegion> Plan::trained() const {
  std::vector<PlanRegion> out;
  for (RegionKind kind : {RegionKind::Params, RegionKind::State, RegionKind::Importance})
    std::copy_if(regions.begin(), regions.end(), std::back_inserter(out),
                 [&](const PlanRegion &each) { return each.kind == kind; });
  return out;
}

std::vector<AdapterPart> Plan::groups() const {
  std::vector<AdapterPart> out;
  for (const PlanParam &param : params)
    if (std::find(out.begin(), out.end(), param.part) == out.end())
      out.push_back(param.part);
  return out;
}

bool Plan::isGated() const {
  return std::any_of(params.begin(), params.end(),
                     [](const PlanParam &param) { return param.part == AdapterPart::Gate; });
}

std::vector<StatePlace> Plan::statePlaces() const {
  std::vector<StatePlace> places(params.size());
  int64_t blocks = 0, compact = 0;
  for (size_t p = 0; p < params.size() && hasCodes(); ++p) {
    const PlanParam &param = params[p];
    int64_t atStart = param.count();
    for (size_t m = 0; ranks && m < ranks->modules.size(); ++m)
      if (ranks->modules[m].module == param.module && param.rank > 0)
        atStart = param.count() / param.rank * ranks->modules[m].initial;
    places[p] = {atStart >= optimizer->min8bitSize, 0};
    int64_t &end = places[p].in8bits ? blocks : compact;
    places[p].own = end;
    end += places[p].in8bits ? (param.count() + formats::dynamicBlock - 1) / formats::dynamicBlock
                             : param.count();
  }
  return places;
}

std::vector<PlanSpan> Plan::spans() const {
  std::vector<PlanSpan> out;
  const std::vector<AdapterPart> groups = this->groups();
  const std::vector<StatePlace> places = statePlaces();
  for (const bool in8bits : {true, false})
    for (size_t p = 0; p < params.size(); ++p) {
      const PlanParam &param = params[p];
      if (places[p].in8bits != in8bits)
        continue;
      const auto group =
          int32_t(std::find(groups.begin(), groups.end(), param.part) - groups.begin());
      const int64_t ownOfNumbers = in8bits ? formats::dynamicBlock : hasCodes() ? 1 : 0;
      for (int64_t done = 0; done < param.count(); done += formats::spanFloats)
        out.push_back({int32_t(param.offset + done),
                       int32_t(std::min(formats::spanFloats, param.count() - done)), group,
                       int32_t(places[p].own + (ownOfNumbers ? done / ownOfNumbers : 0))});
    }
  return out;
}

uint64_t heapOf(const Plan &plan) {
  uint64_t sum = 0;
  auto block = [&](uint64_t bytes) { // with malloc's word before it, in steps of 16
    sum += bytes ? std::max<uint64_t>((bytes + 8 + 15) / 16 * 16, 32) : 0;
  };
  auto words = [&](const std::string &text) {
    block(text.capacity() > 15 ? text.capacity() + 1 : 0);
  };
  auto list = [&]<typename T>(const std::vector<T> &items) { block(items.capacity() * sizeof(T)); };
  list(plan.weights);
  for (const PlanWeight &weight : plan.weights) {
    words(weight.name), words(weight.gguf), words(weight.format);
    list(weight.shape), list(weight.parts);
    for (const PlanPart &part : weight.parts)
      words(part.name);
  }
  list(plan.params);
  for (const PlanParam &param : plan.params)
    words(param.name), words(param.module), list(param.shape);
  list(plan.regions);
  for (const PlanRegion &region : plan.regions)
    words(region.name);
  if (plan.optimizer)
    words(plan.optimizer->name);
  for (const PlanScalars *told : {&plan.updateScalars, &plan.importanceScalars}) {
    list(told->list);
    for (const PlanScalar &scalar : told->list)
      words(scalar.name), block(scalar.formula.bytes());
  }
  list(plan.kernels);
  for (const PlanKernel &kernel : plan.kernels)
    words(kernel.name), words(kernel.family);
  for (const ProgramOfPlan &program : programsOfPlan) {
    const std::vector<PlanLaunch> &launches = plan.*program.launches;
    list(launches);
    for (const PlanLaunch &launch : launches)
      list(launch.args), list(launch.scalars), words(launch.op), words(launch.loc);
  }
  return sum;
}

Result<Plan> parsePlan(std::string_view text) {
  LORAC_TRY_ASSIGN(Json json, parseJson(text, "plan.json"));
  std::string error;
  Fields root(json, "plan", error);
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
  if (plan.onGpu()) {
    plan.compute = target.text("compute");
    if (!formats::parseComputeType(plan.compute))
      target.fail("has the compute type '" + plan.compute + "'; known: bf16, f16");
    target.at("archs").forEach([&](const Fields &in) { plan.archs.push_back(readArch(in)); });
    if (plan.archs.empty())
      target.fail("has no 'archs'");
  }
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

  root.at("weights").forEach(
      [&](const Fields &in) { plan.weights.push_back(readWeight(in, plan.onGpu())); });
  for (const PlanWeight &weight : plan.weights)
    if (plan.hiddenSize == 0 && weight.shape.size() == 2 && weight.shape[0] == plan.vocab)
      plan.hiddenSize = weight.shape[1];
  if (plan.hiddenSize == 0)
    root.fail("has no weight with as many rows as 'limits.vocab'");

  Fields arena = root.at("arena");
  plan.arenaBytes = arena.integer("bytes", 0, maxBytes);
  plan.persistentBytes =
      arena.has("persistent") ? arena.integer("persistent", 0, plan.arenaBytes) : 0;
  if (!plan.onGpu())
    plan.scratchBytes = arena.integer("scratch_bytes", 0, maxBytes);
  plan.regions = readRegions(arena);
  const PlanRegion &trained = plan.region(RegionKind::Params);
  root.at("params").forEach(
      [&](const Fields &in) { plan.params.push_back(readParam(in, trained)); });
  if (trained.count > (int64_t(1) << 31) - 1) // what a span's offset holds
    root.fail("has more than 2^31 parameters");
  if (root.has("ranks"))
    plan.ranks = readRanks(root.at("ranks"));
  if (error.empty())
    checkParams(root, plan);
  if (error.empty() && plan.ranks)
    checkRanks(root, plan);
  if (error.empty())
    checkRankRegions(arena, plan);
  if (error.empty() && !plan.params.empty()) {
    plan.optimizer = readOptimizer(root.at("optimizer"));
    plan.updateScalars = readScalars(root.at("optimizer"), plan);
    if (plan.ranks)
      plan.importanceScalars = readScalars(root.at("importance"), plan);
  }
  if (error.empty())
    checkStoredStates(arena, plan);

  Fields io = root.at("io");
  auto offset = [&](const char *key) { return io.integer(key, 0, maxBytes); };
  plan.io = {offset("ids"),      offset("positions"), offset("labels"),  offset("segment_starts"),
             offset("row_loss"), offset("hidden"),    offset("head_in"), offset("logits")};
  if (plan.ranks)
    plan.io.orthogonality = offset("orthogonality");
  if (plan.hasTriplets()) {
    plan.io.triplets = offset("triplets");
    plan.io.tripletScores = offset("triplet_scores");
    plan.io.tripletStates = offset("triplet_states");
    if (plan.hasCodes())
      plan.io.tripletOwns = offset("triplet_owns");
  }
  if (!plan.params.empty()) {
    plan.io.update = offset("update");
    plan.io.norm = offset("norm");
    plan.io.updateSpans = offset("update_spans");
    if (plan.ranks)
      plan.io.importance = offset("importance");
  }
  if (plan.onGpu()) {
    plan.io.step = offset("step");
    plan.io.rowEnds = offset("row_ends");
  }
  if (root.has("tables"))
    root.at("tables").forEach([&](const Fields &in) {
      PlanTable table{in.text("kind"), in.integer("offset", 0, maxBytes),
                      in.integer("positions", 1, 1 << 28), in.integer("dim", 2, 1 << 20)};
      if (table.kind == dynamic8Table) {
        if (table.positions != 2 || table.dim != formats::dynamicTableFloats)
          in.fail("is not the table of both maps of 8-bit numbers");
        return plan.tables.push_back(table);
      }
      table.factor = float(in.number("factor"));
      in.at("frequencies").forEach([&](const Fields &frequency) {
        table.frequencies.push_back(float(frequency.asNumber()));
      });
      auto isTurn = [](float f) { return std::isfinite(f) && f > 0; };
      if (table.kind != "rope" || table.dim != 2 * int64_t(table.frequencies.size()) ||
          !std::all_of(table.frequencies.begin(), table.frequencies.end(), isTurn) ||
          !isTurn(table.factor))
        in.fail("is not a rope table of 'dim' / 2 positive frequencies");
      if (table.positions < plan.maxLength)
        in.fail("has fewer positions than 'limits.max_length'");
      plan.tables.push_back(table);
    });
  root.at("kernels").forEach(
      [&](const Fields &in) { plan.kernels.push_back(readKernel(in, plan)); });

  Fields programs = root.at("programs");
  auto read = [&](const char *key, int64_t maxRows, std::vector<PlanLaunch> &out) {
    programs.at(key).forEach(
        [&](const Fields &in) { out.push_back(readLaunch(in, plan, maxRows)); });
  };
  read("train", plan.maxTokens, plan.train);
  read("hidden", plan.maxTokens, plan.hidden);
  read("loss", plan.maxTokens, plan.loss);
  read("head", plan.headRows, plan.head);
  if (plan.ranks)
    read("regularize", 0, plan.regularize);
  if (programs.has("initialize"))
    read("initialize", 0, plan.initialize);
  if (error.empty())
    checkRows(root, plan);
  if (!plan.params.empty()) {
    read("begin", 0, plan.begin);
    read("norm", 0, plan.norm);
    read("update", 0, plan.update);
    if (plan.begin.empty() || plan.norm.empty() || plan.update.empty())
      programs.fail("has no launches of 'begin', 'norm' or 'update'");
    if (plan.ranks)
      read("importance", 0, plan.importance);
  }
  if (plan.hasTriplets()) {
    read("fold", 0, plan.fold);
    read("unfold", 0, plan.unfold);
    read("unfold_grads", 0, plan.unfoldGrads);
    read("scores", 0, plan.scores);
    read("zero_triplets", 0, plan.zeroTriplets);
  }
  if (error.empty())
    checkExtents(plan, root);
  if (error.empty())
    checkTables(programs, plan);
  if (!error.empty())
    return Error{"plan.json: " + error + "; compile the spec again", Exit::ForeignFile};
  return plan;
}

} // namespace lorac::train
