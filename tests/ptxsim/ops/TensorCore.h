// The arithmetic of one mma: c += a*b, by the rounding that PTXSIM_MMA asks for.
#ifndef PTXSIM_OPS_TENSORCORE_H
#define PTXSIM_OPS_TENSORCORE_H

#include "tests/ptxsim/machine/Config.h"

namespace ptxsim {

struct TensorTile {
  int k = 16;
  alignas(32) float a[2][16][8]; // [k / 8][row][k % 8]
  alignas(32) float b[16][8];    // [k][column]
  alignas(32) float c[16][8];
};

void multiplyTile(TensorTile &tile, MmaMode mode);

} // namespace ptxsim

#endif
