#pragma once
// AdaLoRA's importance: how much the loss would change without an element (sensitivity), averaged,
// and how sure that is (uncertainty). As PEFT in float32:
//
//   I    = |p · g|                                  p after the update, g its gradient
//   Ibar = beta1·Ibar + (1 - beta1)·I               from 0, no bias correction
//   Ubar = beta2·Ubar + (1 - beta2)·|I - Ibar|      with the Ibar of this step
//   score of triplet i = s(E_i) + (mean over row i of A of s + mean over column i of B of s),
//   s = Ibar·Ubar
//
// Ibar and Ubar lie in flat regions with the layout of the parameters; the program `importance`
// (compiler/passes/AppendTriplets.cpp) takes a step into them. The means are summed in
// double in an order that depends on the matrix alone, so threads change no bit.

#include "runtime/train/ThreadPool.h"

#include <cstdint>
#include <span>

namespace lorac::train {

/// Where one module's triplets lie in a flat region; offsets in floats.
struct TripletLayout {
  int64_t a = 0, b = 0, e = 0;       ///< A [rank, in], B [out, rank], E [rank]
  int64_t rank = 0, in = 0, out = 0; ///< rank: as stored; 0: the module has no tensors
};

/// Scores of all triplets: modules in order, triplets in the order in which they are stored.
/// `scores` has room for the ranks of all modules together.
void scoreTriplets(ThreadPool &pool, std::span<const TripletLayout> modules,
                   const float *sensitivity, const float *uncertainty, float *scores);

} // namespace lorac::train
