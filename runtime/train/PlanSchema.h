#pragma once
// plan.json (docs/plan.md): the one declaration of its keys. Each struct of Plan.h has a function
// `fields` that gives them to a visitor `v`, which reads or writes them (PlanSchema.cpp).
//
//   v(key, value, bounds...)            must be there
//   v.maybe(key, value, bounds...)      may be left out, and is then as Plan.h has it
//   v.need(must, key, value, bounds...) one or the other
//   v.unlessDefault(key, value, ...)    as maybe, and not written where it says nothing
//   v.object(key, fields)               an object that is no struct
//   v.check(what, values...)            asked of what was read, if all before it is well
//
// The bounds of a number are its least and its most; those of a list are for each of its elements;
// those of a struct are what its `fields` takes.

#include "runtime/formats/RowLayout.h"
#include "runtime/train/Plan.h"
#include "runtime/train/PlanCheck.h"

#include <cstdint>
#include <set>
#include <string>

namespace lorac::train {

constexpr int64_t maxBytes = int64_t(1) << 46, maxCount = int64_t(1) << 40,
                  maxTokens = int64_t(1) << 28, maxRank = int64_t(1) << 20,
                  maxFloats = int64_t(1) << 20, maxInt = (int64_t(1) << 31) - 1;

/// Bounds of a list: it is a tensor's one or two dimensions.
struct Shape {};

/// Of a launch.
struct LaunchRows {
  int64_t &begin, &count;
};

void fields(auto &v, PlanPart &part) {
  v("name", part.name);
  v("bytes", part.bytes, 0, maxBytes);
}

void fields(auto &v, PlanWeight &weight, const Plan &plan) {
  v("name", weight.name);
  v.maybe("gguf", weight.gguf);
  v.maybe("kind", weight.kind);
  v("shape", weight.shape, Shape{});
  v("format", weight.format);
  v.maybe("permute_heads", weight.permuteHeads, 0, maxCount);
  v.unlessDefault("hf_add", weight.hfAdd);
  v("parts", weight.parts);
  v.check(checkParts, weight, plan);
}

void fields(auto &v, PlanParam &param, const PlanRegion &params) {
  v("name", param.name);
  v("module", param.module);
  v("group", param.part);
  v("shape", param.shape, Shape{});
  v("offset", param.offset, 0, params.count);
  v("rank", param.rank, 0, maxCount);
  v("scale", param.scale);
  v.check(checkParam, param, params);
}

void fields(auto &v, PlanRanks::Module &module, std::set<std::string> &names) {
  v("module", module.module);
  v("initial", module.initial, 1, maxRank);
  v("min", module.min, 0, maxRank);
  v("max", module.max, 0, maxRank);
  v.check([&](const Fields &in) {
    if (!names.insert(module.module).second)
      in.fail("names '" + module.module + "' a second time");
  });
}

void fields(auto &v, PlanRanks &ranks) {
  std::set<std::string> names;
  v("initial", ranks.initial, 0, maxCount);
  v("target", ranks.target, 0, maxCount);
  v("modules", ranks.modules, names);
}

void fields(auto &v, PlanRegion &region, RegionOrder &order) {
  v("name", region.name);
  v("kind", region.kind);
  v("offset", region.offset, 0, maxBytes);
  v("count", region.count, 0, maxCount);
  v.unlessDefault("storage", region.storage);
  v.check(checkRegion, region, order);
}

void fields(auto &v, PlanTable &table, const Plan &plan) {
  v("kind", table.kind);
  v("offset", table.offset, 0, maxBytes);
  v("positions", table.positions, 1, maxTokens);
  v("dim", table.dim, 2, int64_t(1) << 20);
  if (table.kind != dynamic8Table) {
    v("factor", table.factor);
    v("frequencies", table.frequencies);
  }
  v.check(checkTable, table, plan);
}

void fields(auto &v, PlanScalar &scalar, ScalarPlaces &places) {
  v("name", scalar.name);
  v("at", scalar.at, 0, places.floats - 1);
  v("by_group", scalar.byGroup, 0, maxFloats);
  v("formula", scalar.formula);
  v.check(checkScalar, scalar, places);
}

void fields(auto &v, PlanScalars &scalars, const Plan &plan) {
  v("floats", scalars.floats, 0, maxFloats);
  ScalarPlaces places(scalars.floats, plan);
  v("scalars", scalars.list, places);
}

void fields(auto &v, PlanTiles &tiles) {
  v("space", tiles.space);
  const bool rows = tiles.space == PlanTiles::Rows;
  v.need(rows, "tile", tiles.tile, rows ? 1 : 0, maxCount);
  v.need(!rows, "count", tiles.count, 0, maxCount);
}

void fields(auto &v, PlanKernel &kernel, const Plan &plan) {
  v("name", kernel.name);
  v("family", kernel.family);
  v("scalars", kernel.mostScalar, 0, maxCount);
  v("args", kernel.buffers, kernel.mostScalar.size());
  if (plan.onGpu()) {
    v("threads", kernel.threads, 32, 1024);
    v("shared", kernel.shared, 0, 1 << 20);
    v.check([&](const Fields &in) {
      if (kernel.threads % 32 != 0)
        in.fail("has " + std::to_string(kernel.threads) + " threads, no multiple of 32");
    });
  } else {
    v("tiles", kernel.tiles);
    v.maybe("scratch", kernel.scratch, 0, plan.scratchBytes);
  }
}

/// `maxRows` 0: a program whose rows are no tokens.
void fields(auto &v, PlanLaunch &launch, const Plan &plan, int64_t maxRows) {
  v("kernel", launch.kernel, 0, int64_t(plan.kernels.size()) - 1);
  v("args", launch.args, plan);
  v.unlessDefault("fixed", launch.fixedRows);
  // Rows that are no tokens are those of a weight's gradient, or spans.
  launch.fixedRows |= maxRows == 0;
  LaunchRows rows{launch.rowBegin, launch.rowCount};
  v("rows", rows, !launch.fixedRows ? maxRows : plan.onGpu() ? maxInt : maxCount);
  v.unlessDefault("scalars", launch.scalars, 0, maxInt);
  if (plan.onGpu())
    v("grid", launch.grid);
  else
    v("tiles", launch.tiles);
  v.maybe("flops", launch.flops);
  v.maybe("bytes", launch.bytes);
  v.maybe("op", launch.op);
  v.maybe("loc", launch.loc);
  v.check(checkLaunch, launch, plan);
}

void programs(auto &v, Plan &plan) {
  auto program = [&](Program which, int64_t maxRows = 0) {
    const ProgramOfPlan &of = programsOfPlan[size_t(which)];
    v(of.name, plan.*of.launches, plan, maxRows);
  };
  for (Program each : {Program::Train, Program::Hidden, Program::Loss})
    program(each, plan.maxTokens);
  program(Program::Head, plan.headRows);
  v.unlessDefault(programsOfPlan[size_t(Program::Initialize)].name, plan.initialize, plan, 0);
  if (plan.hasRanks())
    program(Program::Regularize);
  if (plan.hasParams()) {
    for (Program each : {Program::Begin, Program::Norm, Program::Update})
      program(each);
    v.check([&](const Fields &in) {
      if (plan.begin.empty() || plan.norm.empty() || plan.update.empty())
        in.fail("has no launches of 'begin', 'norm' or 'update'");
    });
  }
  if (plan.hasTriplets())
    for (Program each : {Program::Importance, Program::Fold, Program::Unfold, Program::UnfoldGrads,
                         Program::Scores, Program::ZeroTriplets})
      program(each);
  v.check(checkTables, plan);
}

void fields(auto &v, Plan &plan) {
  v.maybe("lorac", plan.version);
  v("abi", plan.abi, 0, maxCount);
  v.check([&](const Fields &in) {
    if (plan.abi != LORAC_ABI_VERSION)
      in.fail("is of ABI " + std::to_string(plan.abi) + ", this program runs ABI " +
              std::to_string(LORAC_ABI_VERSION));
  });
  v("spec", plan.spec);
  v.object("target", [&](auto &v) {
    v("device", plan.device);
    v.unlessDefault("cpu", plan.cpu);
    if (plan.onGpu()) {
      v("compute", plan.compute);
      v("archs", plan.archs);
      v.check([&](const Fields &in) {
        if (!formats::parseComputeType(plan.compute))
          in.fail("has the compute type '" + plan.compute + "'; known: bf16, f16");
        if (plan.archs.empty())
          in.fail("has no 'archs'");
      });
    }
    v.unlessDefault("features", plan.features);
  });
  v.object("limits", [&](auto &v) {
    v("max_tokens", plan.maxTokens, 1, maxTokens);
    v("max_segments", plan.maxSegments, 1, maxTokens);
    v("max_length", plan.maxLength, 1, plan.maxTokens);
    v("head_rows", plan.headRows, 1, plan.maxTokens);
    v("vocab", plan.vocab, 1, maxTokens);
  });
  v.object("model", [&](auto &v) {
    v.maybe("architecture", plan.architecture);
    v.maybe("hyper", plan.hyper);
  });
  v("weights", plan.weights, plan);
  v.check([&](const Fields &in) {
    for (const PlanWeight &weight : plan.weights)
      if (plan.hiddenSize == 0 && weight.shape.size() == 2 && weight.shape[0] == plan.vocab)
        plan.hiddenSize = weight.shape[1];
    if (plan.hiddenSize == 0)
      in.fail("has no weight with as many rows as 'limits.vocab'");
  });
  v.object("arena", [&](auto &v) {
    RegionOrder order;
    v("bytes", plan.arenaBytes, 0, maxBytes);
    v.maybe("persistent", plan.persistentBytes, 0, plan.arenaBytes);
    v.need(!plan.onGpu(), "scratch_bytes", plan.scratchBytes, 0, maxBytes);
    v("regions", plan.regions, order);
    v.check(checkRegions, plan);
  });
  v("params", plan.params, plan.region(RegionKind::Params));
  v.check(checkParams, plan);
  v.unlessDefault("ranks", plan.ranks);
  v.check(checkRanks, plan);
  v.check(checkRankRegions, plan);
  if (plan.hasParams())
    v.object("optimizer", [&](auto &v) {
      PlanOptimizer &optimizer = plan.optimizer ? *plan.optimizer : plan.optimizer.emplace();
      v("name", optimizer.name);
      v.unlessDefault("min_8bit_size", optimizer.min8bitSize, 1, maxCount);
      fields(v, plan.updateScalars, plan);
    });
  if (plan.hasTriplets())
    v("importance", plan.importanceScalars, plan);
  v.check(checkStoredStates, plan);
  v.object("io", [&](auto &v) {
    for (const PlaceOfIo &place : placesOfIo)
      if (!place.isIn || (plan.*place.isIn)())
        v(place.name, plan.io.*place.at, 0, maxBytes);
  });
  v.maybe("tables", plan.tables, plan);
  v.check(checkExtents, plan);
  v("kernels", plan.kernels, plan);
  v.object("programs", [&](auto &v) { programs(v, plan); });
  v.check(checkRowParts, plan);
}

} // namespace lorac::train
