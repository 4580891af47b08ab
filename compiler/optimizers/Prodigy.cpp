// Prodigy (Mishchenko & Defazio 2023), in the order of its authors' code: AdamW whose rate is
// multiplied by d, an estimate of how far the parameters are from where they should be. d is one
// number of all parameters; it only grows. An update at the rate 0 (a warm-up's first) changes
// nothing, and one whose sums are 0 leaves d and the parameters alone.

#include "compiler/optimizers/Optimizer.h"

using namespace lorac;
using namespace lorac::optimizers;
using lora::Storage;

// d times the schedule's rate; with the corrections of Adam's averages, each of which is an average
// of ones.
template <typename Body>
static Element rateOf(Body &of, const Keys &keys, Element d, Element rate) {
  if (!keys.useBiasCorrection)
    return d * rate;
  auto next = [&](const char *name, const char *kept, const char *taken, double beta) {
    return of.one(name) * of.scalar(kept, beta) + of.scalar(taken, Host(1) - beta);
  };
  Element mean = next("correction1", "beta1", "one_minus_beta1", keys.beta1);
  Element square = next("correction2", "beta2", "one_minus_beta2", keys.beta2);
  return d * rate * (sqrt(square) / mean);
}

static Host beta3Of(const Keys &keys) {
  return keys.beta3 > 0 ? Host(keys.beta3) : sqrt(Host(keys.beta2));
}

static void moments(Update &u) {
  const double beta1 = u.keys.beta1, beta2 = u.keys.beta2;
  Element g = u.grad(), m = u.state(0), v = u.state(1), s = u.state(2), d = u.one("d");
  Element rate = u.scalar("rate", Host::rate()), moves = u.number(0) < rate;
  Element ofMean = d * u.scalar("take1", Host(1) - beta1);
  Element mean = m * u.scalar("keep1", beta1) + ofMean * g;
  Element ofSquare = d * d * u.scalar("take2", Host(1) - beta2);
  Element square = v * u.scalar("keep2", beta2) + ofSquare * g * g;
  Element grown = d / u.scalar("d0", u.keys.d0);
  Element ofSum = grown * (u.keys.safeguardWarmup ? d : rateOf(u, u.keys, d, rate));
  Element sum = s * u.scalar("beta3", beta3Of(u.keys)) + ofSum * g;
  u.give({select(moves, mean, m), select(moves, square, v), select(moves, sum, s)});
}

static void estimate(Whole &of, const Keys &keys) {
  Element rate = of.scalar("rate", Host::rate()), d0 = of.scalar("d0", keys.d0);
  Element d = of.one("d"), most = of.one("d_max"), numerator = of.one("d_numerator");
  Element sum = narrowed(of.total()), zero = of.number(0);
  Element counted = select(zero < rate, sum, zero), moves = zero < counted;
  Element taken = rateOf(of, keys, d, rate);
  Element distance = of.one("clip") * of.one("distance");
  Element next = numerator * of.scalar("beta3", beta3Of(keys)) + d / d0 * taken * distance;
  Element guess = of.scalar("d_coef", keys.dCoef) * next / sum;
  Element most1 = max(guess, most);
  Element d1 = most1;
  if (keys.growthRate > 0) {
    Element first = select(d0 < d, d, max(guess, d));
    d1 = min(most1, first * of.scalar("growth_rate", keys.growthRate));
  }
  llvm::SmallVector<std::pair<llvm::StringRef, Element>> numbers = {
      {"d", select(moves, d1, d)},
      {"d_max", select(moves, most1, most)},
      {"d_numerator", select(moves, next, numerator)},
      {"step_rate", select(moves, taken, zero)}};
  if (keys.useBiasCorrection)
    for (auto [name, beta] : {std::pair("correction1", keys.beta1), {"correction2", keys.beta2}}) {
      Element ones = of.one(name);
      Element more = ones * of.scalar("keep", beta) + of.scalar("take", Host(1) - beta);
      numbers.push_back({name, select(moves, more, ones)});
    }
  of.give(numbers);
}

static void steps(Steps &step) {
  const Keys &keys = step.keys;
  moments(step.map("_moments", {"exp_avg", "exp_avg_sq", "s"}));
  auto [products, distance] = step.sum("distance");
  Element begun = products.read("p0"), now = products.read("params");
  products.yield({widened(products.read("grads")) * widened(begun - now)});
  distance.give({{"distance", narrowed(distance.total())}});
  auto [sizes, of] = step.sum("estimate");
  sizes.give(abs(sizes.read("s")));
  estimate(of, keys);

  Update &u = step.map("", {"exp_avg", "exp_avg_sq"});
  Element p = u.param(), rate = u.one("step_rate"), d = u.one("d");
  Element denominator = sqrt(u.state(1)) + d * u.scalar("eps", keys.eps);
  Element decay = u.scalar("weight_decay", keys.weightDecay) * rate * p;
  u.give(p - decay - rate * u.state(0) / denominator, {});
}

static bool isCorrected(const Keys &keys) { return keys.useBiasCorrection; }

static constexpr State states[] = {{"exp_avg"},
                                   {"exp_avg_sq"},
                                   {"s"},
                                   {.name = "p0", .beginsAsParam = true},
                                   {.name = "d", .storage = Storage::One, .begin = &Keys::d0},
                                   {.name = "d_max", .storage = Storage::One, .begin = &Keys::d0},
                                   {"d_numerator", Storage::One},
                                   {"correction1", Storage::One, isCorrected},
                                   {"correction2", Storage::One, isCorrected}};

namespace lorac::optimizers {
extern const Optimizer optimizerProdigy;
}
const Optimizer lorac::optimizers::optimizerProdigy = {"prodigy", states, nullptr, steps};
