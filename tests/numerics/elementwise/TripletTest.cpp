// AdaLoRA's programs on the CPU: to the bit as the loops that they took the place of.

#include "runtime/formats/Dynamic8.h"
#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/unit/train/ImportanceReference.h"

#include <array>
#include <random>

namespace lorac::testing {
namespace {

using Floats = std::vector<float>;
using train::TripletLayout;

// Modules of these ranks, inputs and outputs; nothing says that a region begins with a tensor.
struct Modules {
  explicit Modules(std::vector<std::array<int64_t, 3>> shapes) {
    int64_t unfolded = 0;
    for (auto [rank, in, out] : shapes) {
      const TripletLayout at{floats, floats + rank * in, floats + rank * (in + out), rank, in, out};
      layouts.push_back(at);
      table.push_back({int32_t(at.a), int32_t(at.b), int32_t(at.e), int32_t(rank), int32_t(in),
                       int32_t(out), int32_t(unfolded), int32_t(triplets)});
      floats += rank * (in + out + 1) + 5, unfolded += out * rank, triplets += rank;
    }
    ofB = unfolded;
  }
  Floats draw(unsigned seed) const {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    Floats out(static_cast<size_t>(floats));
    for (float &x : out)
      x = normal(random);
    return out;
  }
  int64_t rows() const { return int64_t(table.size()); }

  std::vector<TripletLayout> layouts;
  std::vector<LoracTriplets> table;
  int64_t floats = 3, triplets = 0, ofB = 0;
};

const std::vector<std::array<int64_t, 3>> shapes = {
    {12, 33, 40}, {0, 64, 64}, {3, 100, 37}, {1, 5, 65}, {24, 16, 7}};

class Triplets : public KernelTest {
protected:
  Modules modules{shapes};
  Array<LoracTriplets> table{modules.table};
};
LORAC_ON_EACH_CPU(Triplets);
INSTANTIATE_TEST_SUITE_P(Avx512, Triplets, ::testing::Values("x86-64-v4"));

TEST_P(Triplets, FoldAndUnfold) {
  const Kernel fold = compile("fold_triplets", ""), unfold = compile("unfold_triplets", "");
  const Floats before = modules.draw(1);
  for (auto how : {&Kernel::run, &Kernel::runInPieces}) {
    const Array<float> params(before), kept(Floats(static_cast<size_t>(modules.ofB)));
    (fold.*how)({table.data(), params.data(), kept.data()}, modules.rows(), {});
    Floats folded = before;
    for (const TripletLayout &at : modules.layouts)
      for (int64_t i = 0; i < at.out * at.rank; ++i)
        folded[size_t(at.b + i)] *= before[size_t(at.e + i % at.rank)];
    EXPECT_EQ(params.values(), folded);
    (unfold.*how)({table.data(), kept.data(), params.data()}, modules.rows(), {});
    EXPECT_EQ(params.values(), before);
  }
}

TEST_P(Triplets, GradientsOfTheFoldBecomeThoseOfBAndE) {
  const Kernel kernel = compile("unfold_gradients", "");
  const Floats p = modules.draw(2), before = modules.draw(3);
  for (auto how : {&Kernel::run, &Kernel::runInPieces}) {
    const Array<float> params(p), grads(before);
    (kernel.*how)({table.data(), params.data(), grads.data()}, modules.rows(), {});
    Floats wanted = before;
    for (const TripletLayout &at : modules.layouts)
      for (int64_t i = 0; i < at.rank; ++i) {
        double sum = 0;
        for (int64_t row = 0; row < at.out; ++row) {
          const auto place = size_t(at.b + row * at.rank + i);
          sum += double(before[place]) * double(p[place]);
          wanted[place] = before[place] * p[size_t(at.e + i)];
        }
        wanted[size_t(at.e + i)] = float(sum);
      }
    EXPECT_EQ(grads.values(), wanted);
    EXPECT_EQ(params.values(), p);
  }
}

TEST_P(Triplets, Scores) {
  const Kernel kernel = compile("triplet_scores", "");
  Floats s = modules.draw(4), u = modules.draw(5);
  for (Floats *values : {&s, &u})
    for (float &x : *values)
      x = std::fabs(x);
  train::ThreadPool pool(1);
  Floats wanted(static_cast<size_t>(modules.triplets));
  train::scoreTriplets(pool, modules.layouts, s.data(), u.data(), wanted.data());
  const Array<float> sensitivity(s), uncertainty(u);
  for (auto how : {&Kernel::run, &Kernel::runInPieces}) {
    const Array<float> scores(Floats(wanted.size(), -1.0f));
    (kernel.*how)({table.data(), sensitivity.data(), uncertainty.data(), scores.data()},
                  modules.rows(), {});
    EXPECT_EQ(scores.values(), wanted);
  }
}

class Zeros : public Triplets {
protected:
  void SetUp() override {
    Triplets::SetUp();
    states.assign(static_cast<size_t>(modules.triplets), LORAC_TRIPLET_ALIVE);
    for (size_t m = 0; m < died.size(); ++m) {
      for (int32_t place : died[m])
        states[size_t(modules.table[m].first + place)] = LORAC_TRIPLET_DEAD;
      for (int32_t place : masked[m])
        states[size_t(modules.table[m].first + place)] = LORAC_TRIPLET_MASKED;
    }
  }
  const train::TripletSets died = {{1, 11}, {}, {0, 1, 2}, {}, {23}},
                           masked = {{0}, {}, {}, {0}, {}};
  std::vector<int32_t> states;
};
LORAC_ON_EACH_CPU(Zeros);

TEST_P(Zeros, OfFloats) {
  const Kernel kernel = compile("triplet_zeros", "regions = 2 : i64");
  Floats p = modules.draw(6), m = modules.draw(7);
  const Array<int32_t> told(states);
  const Array<float> params(p), state(m);
  kernel.runInPieces({table.data(), told.data(), params.data(), state.data()}, modules.rows());
  train::zeroWhole(p.data(), modules.layouts, died);
  train::zeroE(p.data(), modules.layouts, masked);
  train::zeroWhole(m.data(), modules.layouts, died);
  EXPECT_EQ(params.values(), p);
  EXPECT_EQ(state.values(), m);
}

// A state of 8 bits, but for the modules whose factors lie compactly: the second's, and all E.
TEST_P(Zeros, OfCodes) {
  const Kernel kernel =
      compile("triplet_zeros",
              R"(storage = ["floats", "dynamic8_signed", "compact", "dynamic8_unsigned"])");
  std::vector<std::array<int32_t, 3>> own;
  std::vector<uint8_t> codes(static_cast<size_t>(modules.floats), 77), squares = codes;
  Floats compact, p = modules.draw(8);
  auto begins = [&](int64_t count) {
    const auto at = int32_t(compact.size());
    compact.resize(compact.size() + size_t(count), 1.0f);
    return at;
  };
  for (const TripletLayout &at : modules.layouts)
    own.push_back(at.rank == 3 ? std::array<int32_t, 3>{begins(at.rank * at.in),
                                                        begins(at.out * at.rank), begins(at.rank)}
                               : std::array<int32_t, 3>{-1, -1, begins(at.rank)});
  std::vector<uint8_t> codesWanted = codes, squaresWanted = squares;
  Floats compactWanted = compact, params = p;
  for (size_t m = 0; m < died.size(); ++m) {
    const TripletLayout &at = modules.layouts[m];
    auto zero = [&](int32_t own, int64_t base, int64_t i) {
      if (own >= 0) {
        compactWanted[size_t(own + i)] = 0;
        return;
      }
      codesWanted[size_t(base + i)] = formats::dynamicZero(formats::Dynamic8::Signed);
      squaresWanted[size_t(base + i)] = formats::dynamicZero(formats::Dynamic8::Unsigned);
    };
    for (int32_t i : died[m]) {
      for (int64_t col = 0; col < at.in; ++col)
        zero(own[m][0], at.a, i * at.in + col);
      for (int64_t row = 0; row < at.out; ++row)
        zero(own[m][1], at.b, row * at.rank + i);
      zero(own[m][2], at.e, i);
    }
  }
  train::zeroWhole(params.data(), modules.layouts, died);
  train::zeroE(params.data(), modules.layouts, masked);
  const Array<int32_t> told(states);
  const Array<std::array<int32_t, 3>> owns(own);
  const Array<float> region(p), ofCompact(compact);
  const Array<uint8_t> ofSigned(codes), ofUnsigned(squares);
  kernel.run({table.data(), told.data(), owns.data(), region.data(), ofSigned.data(),
              ofCompact.data(), ofUnsigned.data()},
             modules.rows());
  EXPECT_EQ(region.values(), params);
  EXPECT_EQ(ofSigned.values(), codesWanted);
  EXPECT_EQ(ofUnsigned.values(), squaresWanted);
  EXPECT_EQ(ofCompact.values(), compactWanted);
}

} // namespace
} // namespace lorac::testing
