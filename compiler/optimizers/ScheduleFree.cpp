// Schedule-Free AdamW (Defazio et al. 2024), in the order of its authors' code: what trains is a
// point y between the average x, which is evaluated and saved, and z, which takes the steps. The
// weight of a step is the square of the largest rate so far, which its warm-up alone makes grow: so
// the average follows from the number of the update, and no sum of weights is kept.

#include "compiler/optimizers/Optimizer.h"

using namespace lorac::optimizers;

static void update(Update &u) {
  const double beta1 = u.keys.beta1, beta2 = u.keys.beta2;
  const double warmup = u.keys.warmupSteps > 1 ? u.keys.warmupSteps : 1;
  const Host t = Host::update(), rising = min(t, warmup), part = rising / warmup;
  const Host rate = Host::rate() * part;
  // Of weights, of which a full one is 1: that of all rising ones, and the others.
  const Host sum = rising * (rising + 1.0) * (Host(2) * rising + 1.0) / (6 * warmup * warmup);
  const Host share = part * part / (sum + (t - rising));

  Element y = u.param(), g = u.grad(), z = u.state(0), v = u.state(1);
  Element kept = v * u.scalar("beta2", beta2);
  Element square = kept + u.scalar("one_minus_beta2", Host(1) - beta2) * g * g;
  Element corrected = square / u.scalar("correction2", Host(1) - pow(beta2, t));
  Element n = g / (sqrt(corrected) + u.scalar("eps", u.keys.eps));
  Element step = n + u.scalar("weight_decay", u.keys.weightDecay) * y;
  Element toward = y + u.scalar("share", share) * (z - y);
  Element point =
      toward + u.byGroup("ahead", rate * (Host(beta1) * (Host(1) - share) - 1.0)) * step;
  u.give(point, {z + u.byGroup("minus_rate", -rate) * step, square});
}

static void average(Terms &of, const Keys &keys) {
  Element y = of.read("params"), z = of.read("z");
  of.yield({y + of.scalar("back", Host(1) - Host(1) / Host(keys.beta1)) * (z - y)});
}

static constexpr State states[] = {{.name = "z", .beginsAsParam = true}, {"exp_avg_sq"}};

namespace lorac::optimizers {
extern const Optimizer optimizerScheduleFreeAdamW;
}
const Optimizer lorac::optimizers::optimizerScheduleFreeAdamW = {"schedule_free_adamw", states,
                                                                 update, nullptr, average};
