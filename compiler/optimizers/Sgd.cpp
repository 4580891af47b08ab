// Stochastic gradient descent with momentum, in torch's order of operations: the decay is added to
// the gradient, and the first buffer is the gradient itself, for the state begins as 0.

#include "compiler/optimizers/Optimizer.h"

using namespace lorac::optimizers;

static void update(Update &u) {
  Element minusRate = u.byGroup("minus_rate", -Host::rate());
  Element p = u.param(), decay = u.scalar("weight_decay", u.keys.weightDecay) * p;
  Element g = u.grad() + decay;
  if (u.keys.momentum == 0)
    return u.give(p + minusRate * g, {});
  Element momentum = u.scalar("momentum", u.keys.momentum);
  Element kept = momentum * u.state(0), buffer = kept + g;
  Element step = u.keys.nesterov ? g + momentum * buffer : buffer;
  u.give(p + minusRate * step, {buffer});
}

static constexpr State states[] = {{.name = "momentum_buffer", .needs = &Keys::momentum}};

namespace lorac::optimizers {
extern const Optimizer optimizerSgd;
}
const Optimizer lorac::optimizers::optimizerSgd = {"sgd", states, update};
