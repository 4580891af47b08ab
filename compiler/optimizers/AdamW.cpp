// AdamW (Loshchilov & Hutter 2019, algorithm 2), in torch's order of operations; with states in 8
// bits (Dettmers et al. 2022), in the numbers of bitsandbytes' CPU backend. That has m as beta1·m +
// (1 - beta1)·g and fuses sums with products: absmax is an ulp off now and then, codes are equal.

#include "compiler/optimizers/Optimizer.h"

using namespace lorac::optimizers;

static void update(Update &u) {
  const double beta1 = u.keys.beta1, beta2 = u.keys.beta2;
  Element decay = u.byGroup("decay", Host(1) - Host::rate() * u.keys.weightDecay);
  Element minusStep =
      u.byGroup("minus_step", -(Host::rate() / (Host(1) - pow(beta1, Host::update()))));
  Element p = u.param(), g = u.grad(), m = u.state(0), v = u.state(1);

  Element decayed = p * decay;
  Element mean = m + u.scalar("one_minus_beta1", Host(1) - beta1) * (g - m);
  Element kept = v * u.scalar("beta2", beta2);
  Element square = kept + u.scalar("one_minus_beta2", Host(1) - beta2) * g * g;
  Element correction = u.scalar("correction2_sqrt", sqrt(Host(1) - pow(beta2, Host::update())));
  Element denominator = sqrt(square) / correction + u.scalar("eps", u.keys.eps);
  u.give(decayed + minusStep * mean / denominator, {mean, square});
}

static constexpr State states[] = {{"exp_avg"}, {"exp_avg_sq"}};
static constexpr State statesOf8bit[] = {{"exp_avg", lorac::lora::Storage::DynamicSigned},
                                         {"exp_avg_sq", lorac::lora::Storage::DynamicUnsigned}};

namespace lorac::optimizers {
extern const Optimizer optimizerAdamW, optimizerAdamW8bit;
}
const Optimizer lorac::optimizers::optimizerAdamW = {"adamw", states, update};
const Optimizer lorac::optimizers::optimizerAdamW8bit = {"adamw_8bit", statesOf8bit, update};
