// LoRA (Hu et al. 2021, eq. 3): y = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ, dropout in front of A alone.

#include "compiler/methods/Orthogonality.h"

using namespace lorac::methods;

static mlir::Value rewrite(Site &s) { return s.sum(s.base(), s.lowRank(s.dropped()).y); }

namespace lorac::methods {
extern const Method methodLoRA;
}
const Method lorac::methods::methodLoRA = {"lora", rewrite, addAskedOrthogonality};
