// Lion (Chen et al. 2023, algorithm 2): the sign of an average that looks further ahead than the
// one it keeps. The decay comes before the step, as in bitsandbytes.

#include "compiler/optimizers/Optimizer.h"

using namespace lorac::optimizers;

static void update(Update &u) {
  const double beta1 = u.keys.beta1, beta2 = u.keys.beta2;
  Element decay = u.byGroup("decay", Host(1) - Host::rate() * u.keys.weightDecay);
  Element minusRate = u.byGroup("minus_rate", -Host::rate());
  Element p = u.param(), g = u.grad(), m = u.state(0);

  Element look = m * u.scalar("beta1", beta1) + g * u.scalar("one_minus_beta1", Host(1) - beta1);
  Element mean = m * u.scalar("beta2", beta2) + g * u.scalar("one_minus_beta2", Host(1) - beta2);
  u.give(p * decay + minusRate * sign(look), {mean});
}

static constexpr State states[] = {{"exp_avg"}};
static constexpr State statesOf8bit[] = {{"exp_avg", lorac::lora::Storage::DynamicSigned}};

namespace lorac::optimizers {
extern const Optimizer optimizerLion, optimizerLion8bit;
}
const Optimizer lorac::optimizers::optimizerLion = {"lion", states, update};
const Optimizer lorac::optimizers::optimizerLion8bit = {"lion_8bit", statesOf8bit, update};
