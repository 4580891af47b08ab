
#include "AdaLoraGolden.h"
#include "AdamWReference.h"
#include "ImportanceReference.h"
#include "OrthogonalTerm.h"
#include "runtime/train/Random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lorac::train {
namespace {

using test::AdaLoraGolden;

/// The largest difference over the largest value.
double errorOf(const std::vector<float> &ours, const std::vector<float> &theirs) {
  EXPECT_EQ(ours.size(), theirs.size());
  double worst = 0, most = 0;
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    worst = std::max(worst, std::fabs(double(ours[i]) - double(theirs[i])));
    most = std::max(most, std::fabs(double(theirs[i])));
  }
  return worst / most;
}

class ImportanceGolden : public test::AdaLoraGoldenTest {};

// p after AdamW's first update, g of that step: PEFT's Ibar and Ubar.
TEST_P(ImportanceGolden, OfTheFirstStep) {
  std::vector<float> p = golden->region(*golden->init, "");
  std::vector<float> g = golden->region(*golden->numbers, "grad0.");
  std::vector<float> m(p.size()), v(p.size()), sensitivity(p.size()), uncertainty(p.size());
  const auto &adam = golden->train["optimizer"];
  test::AdamW rule{adam["betas"][0], adam["betas"][1], adam["eps"], adam["weight_decay"]};
  test::applyUpdate({{0, int32_t(p.size()), 0, 0}},
                    rule.scalars({{AdapterPart::A, 1}}, adam["lr"], 1), 1, p.data(), g.data(),
                    m.data(), v.data());
  test::Importance{0.85, 0.85}.update(golden->layout, p.data(), g.data(), 1, sensitivity.data(),
                                      uncertainty.data());
  EXPECT_LT(errorOf(sensitivity, golden->region(*golden->numbers, "step0.exp_avg_ipt.")), 1e-6);
  EXPECT_LT(errorOf(uncertainty, golden->region(*golden->numbers, "step0.exp_avg_unc.")), 1e-6);
}

TEST_P(ImportanceGolden, ScoresOfTheEvents) {
  ThreadPool pool(2);
  for (const std::string event : {"event0", "event2"}) {
    std::vector<float> sensitivity = golden->region(*golden->numbers, event + ".exp_avg_ipt.");
    std::vector<float> uncertainty = golden->region(*golden->numbers, event + ".exp_avg_unc.");
    std::vector<float> scores(size_t(golden->schedule.initBudget));
    scoreTriplets(pool, golden->layout, sensitivity.data(), uncertainty.data(), scores.data());
    EXPECT_LT(errorOf(scores, *golden->numbers->floats(event + ".scores")), 1e-6);
  }
}

TEST_P(ImportanceGolden, OrthogonalTermOfTheStart) {
  std::vector<float> p = golden->region(*golden->init, "");
  std::vector<test::Matrix> matrices;
  for (const TripletLayout &at : golden->layout) {
    matrices.push_back(test::Matrix::rows(p.data() + at.a, at.rank, at.in));
    matrices.push_back(test::Matrix::columns(p.data() + at.b, at.out, at.rank));
  }
  EXPECT_NEAR(test::orthogonalTerm(matrices, 1), golden->train["rows"][0]["orth_reg"], 1e-5);
}
INSTANTIATE_TEST_SUITE_P(Importance, ImportanceGolden, testing::Values("tied", "untied"));

TEST(OrthogonalTerm, GradientIsTheDifference) {
  RandomStream random(5, "orthogonal");
  std::vector<float> values(2 * 5 * 9);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = random.normal(i);
  std::vector<test::Matrix> matrices = {test::Matrix::rows(values.data(), 5, 9),
                                        test::Matrix::columns(values.data() + 45, 9, 5)};
  std::vector<test::Matrix> gradient = test::orthogonalGradient(matrices, 0.5);
  for (size_t m = 0; m < matrices.size(); ++m)
    for (size_t i = 0; i < matrices[m].values.size(); ++i) {
      const double at = matrices[m].values[i], h = 1e-6;
      matrices[m].values[i] = at + h;
      double above = test::orthogonalTerm(matrices, 0.5);
      matrices[m].values[i] = at - h;
      double below = test::orthogonalTerm(matrices, 0.5);
      matrices[m].values[i] = at;
      EXPECT_NEAR(gradient[m].values[i], (above - below) / (2 * h), 1e-7);
    }
  // At exactly zero torch's gradient is zero.
  float unit[] = {1, 0, 0, 1};
  EXPECT_EQ(test::orthogonalGradient({test::Matrix::rows(unit, 2, 2)}, 1)[0].values,
            std::vector<double>(4, 0.0));
}

struct RandomRegions {
  std::vector<TripletLayout> layout;
  std::vector<float> p, g, sensitivity, uncertainty;
  int64_t triplets = 0;

  explicit RandomRegions(std::vector<std::array<int64_t, 3>> shapes) {
    int64_t at = 3; // nothing says that a region begins with a tensor
    for (auto [rank, in, out] : shapes) {
      layout.push_back({at, at + rank * in, at + rank * (in + out), rank, in, out});
      at += rank * (in + out + 1) + 5;
      triplets += rank;
    }
    p.resize(size_t(at)), g = sensitivity = uncertainty = p;
    RandomStream random(9, "importance");
    for (size_t i = 0; i < p.size(); ++i)
      p[i] = random.normal(i), g[i] = random.normal(i + p.size());
  }
};

TEST(Importance, FollowsTheFormulaAndThreadsChangeNoBit) {
  std::vector<std::array<int64_t, 3>> shapes = {
      {12, 576, 192}, {0, 64, 64}, {3, 1000, 37}, {1, 5, 4100}};
  std::vector<float> first;
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    RandomRegions regions(shapes);
    std::vector<double> sensitivity(regions.p.size()), uncertainty(regions.p.size());
    for (int step = 0; step < 3; ++step) {
      test::Importance{0.85, 0.6}.update(regions.layout, regions.p.data(), regions.g.data(), 0.25f,
                                         regions.sensitivity.data(), regions.uncertainty.data());
      for (size_t i = 0; i < sensitivity.size(); ++i) {
        double importance = std::fabs(double(regions.p[i]) * regions.g[i] * 0.25);
        sensitivity[i] = 0.85 * sensitivity[i] + 0.15 * importance;
        uncertainty[i] = 0.6 * uncertainty[i] + 0.4 * std::fabs(importance - sensitivity[i]);
      }
    }
    std::vector<float> scores(size_t(regions.triplets));
    scoreTriplets(pool, regions.layout, regions.sensitivity.data(), regions.uncertainty.data(),
                  scores.data());
    size_t triplet = 0;
    for (const TripletLayout &at : regions.layout)
      for (int64_t i = 0; i < at.rank; ++i) {
        auto s = [&](int64_t index) {
          return sensitivity[size_t(index)] * uncertainty[size_t(index)];
        };
        double ofA = 0, ofB = 0;
        for (int64_t j = 0; j < at.in; ++j)
          ofA += s(at.a + i * at.in + j);
        for (int64_t j = 0; j < at.out; ++j)
          ofB += s(at.b + j * at.rank + i);
        double expected = s(at.e + i) + ofA / double(at.in) + ofB / double(at.out);
        EXPECT_NEAR(scores[triplet] / expected, 1, 1e-5);
        ++triplet;
      }
    EXPECT_EQ(regions.sensitivity[0], 0) << "what belongs to no module is left alone";
    if (first.empty())
      first = scores;
    EXPECT_EQ(scores, first) << threads;
  }
}

} // namespace
} // namespace lorac::train
