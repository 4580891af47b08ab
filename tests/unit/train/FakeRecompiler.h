#pragma once
// Programs made beforehand in place of a compiler's.

#include "FakeTriplets.h"

#include "runtime/train/Payload.h"
#include "runtime/train/ranks/Recompiler.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

namespace lorac::train {

/// What a test wants of the next builds, and what was asked for.
struct Canned : Recompiler {
  struct Build : ProgramBuild {
    Result<BuiltProgram> result;
    Canned &of;
    Build(Result<BuiltProgram> result, Canned &of) : result(std::move(result)), of(of) {}
    bool ended(std::chrono::milliseconds patience) override {
      EXPECT_GT(patience.count(), 0) << "it is waited for, not asked again and again";
      of.waits();
      return --of.glances <= 0;
    }
    Result<BuiltProgram> take() override { return std::move(result); }
  };

  std::string folder;
  std::vector<NamedRanks> asked;
  int glances = 0;                                     ///< until the next build has ended
  std::function<void()> waits = [] {};                 ///< called at each of them
  std::optional<Error> failure = std::nullopt;         ///< of the next build
  std::optional<std::string> otherPlan = std::nullopt; ///< what it makes instead

  std::unique_ptr<ProgramBuild> start(const NamedRanks &ranks) override {
    asked.push_back(ranks);
    if (failure)
      return std::make_unique<Build>(*failure, *this);
    RankPattern pattern;
    for (const auto &[module, rank] : ranks)
      pattern.push_back(rank);
    const std::string path = folder + "/made.program";
    EXPECT_TRUE(writeProgram({{"module.so", fileBytes(FAKE_MODULE)},
                              {"plan.json", otherPlan.value_or(tripletPlanJson(pattern))}},
                             path));
    Result<Payload> payload = Payload::read(path);
    EXPECT_TRUE(payload);
    BuiltProgram built;
    built.program = std::move(*payload);
    built.kernelsBuilt = 3, built.kernelsFromCache = 40, built.seconds = 0.5;
    return std::make_unique<Build>(std::move(built), *this);
  }
};

} // namespace lorac::train
