// attention_forward and attention_backward against softmax over whole rows in double precision.

#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/numerics/elementwise/Reference.h"

namespace lorac::testing {
namespace {

class AttentionKernel : public KernelTest {};
LORAC_ON_EACH_CPU(AttentionKernel);

struct Case {
  int64_t heads, kvHeads, dim;
  std::vector<int64_t> lengths;
};

std::ostream &operator<<(std::ostream &out, const Case &c) {
  return out << c.heads << "/" << c.kvHeads << " heads of " << c.dim << ", " << c.lengths.size()
             << " segments";
}

/// The buffers of one problem; `more` widens leading dimensions, as views into wider buffers have.
struct Problem {
  Problem(const Case &c, float scaleOfInputs, unsigned seed)
      : Problem(c, scaleOfInputs, std::mt19937(seed)) {}

  AttentionShape shape;
  int64_t tokens = 0, longest = 0;
  std::mt19937 random;
  Padded q, k, v, dout, o, lse, dq, dk, dv;
  Array<int32_t> starts;

  std::string params() const {
    std::string scale;
    llvm::raw_string_ostream(scale) << llvm::format("%.17e", shape.scale);
    return llvm::formatv(
        "heads = {0} : i64, kv_heads = {1} : i64, head_dim = {2} : i64, ldq = {3} : i64, "
        "ldk = {4} : i64, ldv = {4} : i64, ldo = {3} : i64, ldl = {5} : i64, "
        "lddo = {3} : i64, lddq = {3} : i64, lddk = {4} : i64, lddv = {4} : i64, "
        "scale = {6} : f64, max_segment = {7} : i64",
        shape.heads, shape.kvHeads, shape.dim, q.ld, k.ld, lse.ld, scale, longest);
  }
  std::vector<void *> forward() const {
    return {q.data(), k.data(), v.data(), starts.data(), o.data(), lse.data()};
  }
  std::vector<void *> backward() const {
    return {q.data(),   k.data(),    v.data(),  starts.data(), o.data(),
            lse.data(), dout.data(), dq.data(), dk.data(),     dv.data()};
  }
  LoracStep step() const {
    LoracStep result{};
    result.tokens = tokens;
    result.segments = shape.starts.size() - 1;
    return result;
  }
  /// o and lse of the reference, rounded to float.
  void fillForward(const Attention &expected) const {
    for (int64_t m = 0; m < tokens; ++m) {
      for (int64_t i = 0; i < o.n; ++i)
        o.at(m, i) = expected.o[m * o.n + i];
      for (int64_t h = 0; h < lse.n; ++h)
        lse.at(m, h) = expected.lse[m * lse.n + h];
    }
  }

private:
  static AttentionShape shapeOf(const Case &c) {
    AttentionShape shape{c.heads, c.kvHeads, c.dim, 1 / std::sqrt(c.dim), {0}};
    for (int64_t length : c.lengths)
      shape.starts.push_back(shape.starts.back() + length);
    return shape;
  }
  Problem(const Case &c, float scale, std::mt19937 &&generator)
      : shape(shapeOf(c)), tokens(shape.starts.back()),
        longest(c.lengths.empty() ? 1 : *std::max_element(c.lengths.begin(), c.lengths.end())),
        random(generator), q(tokens, c.heads * c.dim, random, scale),
        k(tokens, c.kvHeads * c.dim, random, scale), v(tokens, c.kvHeads * c.dim, random, scale),
        dout(tokens, c.heads * c.dim, random), o(tokens, c.heads * c.dim), lse(tokens, c.heads),
        dq(tokens, c.heads * c.dim), dk(tokens, c.kvHeads * c.dim), dv(tokens, c.kvHeads * c.dim),
        starts(shape.starts) {}
};

std::vector<Case> cases() {
  std::vector<Case> all;
  std::vector<int64_t> mixed{1, 2, 63, 64, 65, 200};
  for (int64_t dim : {12, 64})
    all.push_back({9, 3, dim, mixed});
  for (int64_t dim : {2, 8, 16})
    all.push_back({4, 2, dim, mixed});
  all.push_back({1, 1, 64, mixed});
  all.push_back({8, 8, 128, {1, 65, 100}});
  all.push_back({2, 1, 24, mixed});
  all.push_back({2, 2, 256, {70}});
  all.push_back({3, 1, 6, {5, 17}});
  all.push_back({4, 2, 16, {}});
  return all;
}

TEST_P(AttentionKernel, Forward) {
  for (const Case &c : cases()) {
    Problem problem(c, 1.5, 1);
    Kernel kernel = compile("attention_forward", problem.params());
    kernel.run(problem.forward(), problem.tokens, problem.step());
    Attention expected =
        attention(problem.q.doubles(), problem.k.doubles(), problem.v.doubles(), problem.shape);
    EXPECT_LT(worst(problem.o.dense(), expected.o, 1), 6e-6) << c;
    EXPECT_LT(worst(problem.lse.dense(), expected.lse, 1), 2e-6) << c;
    Problem cut(c, 1.5, 1);
    kernel.runInPieces(cut.forward(), cut.tokens, cut.step());
    EXPECT_EQ(problem.o.dense(), cut.o.dense()) << c;
    EXPECT_EQ(problem.lse.dense(), cut.lse.dense()) << c;
  }
}

TEST_P(AttentionKernel, Backward) {
  for (const Case &c : cases()) {
    Problem problem(c, 1, 2), cut(c, 1, 2);
    Kernel kernel = compile("attention_backward", problem.params());
    Doubles q = problem.q.doubles(), k = problem.k.doubles(), v = problem.v.doubles();
    Attention forward = attention(q, k, v, problem.shape);
    problem.fillForward(forward);
    cut.fillForward(forward);
    kernel.run(problem.backward(), problem.tokens, problem.step());
    AttentionGradients expected = attentionBackward(q, k, v, problem.dout.doubles(), problem.shape);
    EXPECT_LT(worst(problem.dq.dense(), expected.dq, 1), 1e-5) << c;
    EXPECT_LT(worst(problem.dk.dense(), expected.dk, 1), 1e-5) << c;
    EXPECT_LT(worst(problem.dv.dense(), expected.dv, 1), 1e-5) << c;
    kernel.runInPieces(cut.backward(), cut.tokens, cut.step());
    EXPECT_EQ(problem.dq.dense(), cut.dq.dense()) << c;
    EXPECT_EQ(problem.dk.dense(), cut.dk.dense()) << c;
    EXPECT_EQ(problem.dv.dense(), cut.dv.dense()) << c;
  }
}

TEST_P(AttentionKernel, SegmentsDoNotSeeEachOther) {
  Case c{4, 2, 16, {40, 30, 50}};
  Problem first(c, 1, 3), second(c, 1, 3);
  for (int64_t m = 40; m < 70; ++m)
    for (int64_t i = 0; i < second.k.n; ++i)
      second.k.at(m, i) = second.v.at(m, i) = NAN;
  Kernel kernel = compile("attention_forward", first.params());
  for (Problem *problem : {&first, &second})
    kernel.run(problem->forward(), problem->tokens, problem->step());
  for (int64_t m = 0; m < 120; ++m)
    for (int64_t i = 0; i < first.o.n && (m < 40 || m >= 70); ++i)
      ASSERT_EQ(first.o.at(m, i), second.o.at(m, i));
}

TEST_P(AttentionKernel, NaNIsNotHidden) {
  Problem problem({2, 1, 16, {60}}, 1, 5);
  problem.k.at(20, 3) = NAN;
  Kernel kernel = compile("attention_forward", problem.params());
  kernel.run(problem.forward(), problem.tokens, problem.step());
  for (int64_t m = 0; m < problem.tokens; ++m)
    for (int64_t h = 0; h < 2; ++h) {
      ASSERT_EQ(std::isnan(problem.o.at(m, h * 16)), m >= 20) << m;
      ASSERT_EQ(std::isnan(problem.lse.at(m, h)), m >= 20) << m;
    }
}

/// New rows of each sequence in one run; what all runs together give stands where the whole has it.
struct CachedRun {
  CachedRun(const Problem &whole, const Case &c, int64_t positions)
      : whole(whole), positions(positions), past(c.lengths.size()),
        keys(std::vector<float>(c.lengths.size() * positions * c.kvHeads * c.dim, NAN)),
        values(std::vector<float>(c.lengths.size() * positions * valueColumns(c), NAN)),
        o(whole.tokens, whole.o.n) {}

  static int64_t valueColumns(const Case &c) { return c.kvHeads * ((c.dim + 7) / 8 * 8); }

  void feed(const Kernel &cacheRows, const Kernel &attention, const std::vector<int64_t> &counts) {
    std::vector<int32_t> starts{0}, at;
    std::vector<int64_t> rows; // of the whole
    for (size_t i = 0; i < counts.size(); ++i) {
      for (int64_t n = 0; n < counts[i]; ++n, ++past[i]) {
        rows.push_back(whole.shape.starts[i] + past[i]);
        at.push_back(int32_t(past[i]));
      }
      starts.push_back(int32_t(rows.size()));
    }
    const auto count = int64_t(rows.size());
    Padded q(count, whole.q.n), k(count, whole.k.n), v(count, whole.v.n), out(count, o.n);
    for (auto [to, from] : {std::pair(&q, &whole.q), {&k, &whole.k}, {&v, &whole.v}})
      for (int64_t m = 0; m < count; ++m)
        std::copy_n(&from->at(rows[m], 0), from->n, &to->at(m, 0));
    Array<int32_t> startsOf(starts), positionsOf(at);
    LoracStep step{};
    step.tokens = count, step.segments = counts.size();
    cacheRows.runInPieces(
        {k.data(), v.data(), startsOf.data(), positionsOf.data(), keys.data(), values.data()},
        count, step);
    attention.runInPieces(
        {q.data(), keys.data(), values.data(), startsOf.data(), positionsOf.data(), out.data()},
        count, step);
    for (int64_t m = 0; m < count; ++m)
      std::copy_n(&out.at(m, 0), o.n, &o.at(rows[m], 0));
  }

  const Problem &whole;
  int64_t positions;
  std::vector<int64_t> past;
  Array<float> keys, values;
  Padded o;
};

// However the rows of a sequence are cut, a cache gives the bits that the whole sequence has.
TEST_P(AttentionKernel, CacheOfKeysAndValues) {
  const std::vector<std::vector<int64_t>> runs = {{47, 0, 61}, {1, 1, 1}, {3, 0, 0},
                                                  {48, 0, 1},  {1, 0, 0}, {0, 0, 35}};
  for (const Case &c : {Case{9, 3, 64, {100, 1, 98}}, Case{4, 2, 12, {100, 1, 98}},
                        Case{2, 1, 24, {100, 1, 98}}, Case{3, 3, 6, {100, 1, 98}}})
    for (const char *mask : {"", ", window = 20 : i64", ", window = 48 : i64, softcap = 5.0 : f64",
                             ", softcap = 2.0 : f64"}) {
      Problem whole(c, 1.5, 6);
      compile("attention_forward", whole.params() + mask)
          .run(whole.forward(), whole.tokens, whole.step());
      constexpr int64_t positions = 112;
      std::string common;
      llvm::raw_string_ostream(common) << llvm::formatv(
          "kv_heads = {0} : i64, head_dim = {1} : i64, ldc = {2} : i64, positions = {3} : i64",
          c.kvHeads, c.dim, CachedRun::valueColumns(c), positions);
      std::string scale;
      llvm::raw_string_ostream(scale) << llvm::format("%.17e", whole.shape.scale);
      const Kernel rows =
          compile("cache_rows",
                  common + llvm::formatv(", ldk = {0} : i64, ldv = {0} : i64", whole.k.ld).str());
      const Kernel attention = compile(
          "cached_attention",
          common +
              llvm::formatv(
                  ", heads = {0} : i64, ldq = {1} : i64, ldo = {1} : i64, scale = {2} : f64{3}",
                  c.heads, whole.q.ld, scale, mask)
                  .str());
      CachedRun run(whole, c, positions);
      for (const std::vector<int64_t> &counts : runs)
        run.feed(rows, attention, counts);
      EXPECT_EQ(run.past, c.lengths);
      EXPECT_EQ(run.o.dense(), whole.o.dense()) << c << mask;
    }
}

TEST_P(AttentionKernel, LargeScores) {
  for (float scale : {8.f, 60.f}) {
    Problem problem({4, 2, 64, {3, 130}}, scale, 4);
    Doubles q = problem.q.doubles(), k = problem.k.doubles(), v = problem.v.doubles();
    Kernel forward = compile("attention_forward", problem.params());
    forward.run(problem.forward(), problem.tokens, problem.step());
    Attention expected = attention(q, k, v, problem.shape);
    // Scores of ±scale²·8 carry a float's relative error, which the exponential turns into an
    // absolute one.
    double tolerance = 1e-6 * scale * scale;
    EXPECT_LT(worst(problem.o.dense(), expected.o, scale), tolerance);
    EXPECT_LT(worst(problem.lse.dense(), expected.lse, 1), 1e-5);
    Kernel backward = compile("attention_backward", problem.params());
    backward.run(problem.backward(), problem.tokens, problem.step());
    for (float value : problem.dq.dense())
      ASSERT_TRUE(std::isfinite(value));
  }
}

} // namespace
} // namespace lorac::testing
