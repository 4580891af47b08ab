#pragma once
// The meaning of every op of the lora dialect up to 40-fused: one slow function an op, in float64.
// Formulas and their sources are in the .td files; shapes are those that the verifiers demand.

#include "compiler/reference/HostTensor.h"
#include <functional>
#include <optional>
#include <vector>

namespace lorac::reference {

// The described model.

/// `y[m, :] = W[ids[m], :]`
HostTensor embed(const HostTensor &ids, const HostTensor &w);

/// `y = x / sqrt(mean(x²) + eps) · w`, along the last dimension
HostTensor rmsNorm(const HostTensor &x, const HostTensor &w, double eps);

/// With `s = 1/sqrt(mean(x²) + eps)`, `g = dy·w`: `dx = s·g - x·s³·mean(g·x)`
HostTensor rmsNormBackward(const HostTensor &x, const HostTensor &w, const HostTensor &dy,
                           double eps);

/// `y = x·Wᵀ`
HostTensor linear(const HostTensor &x, const HostTensor &w);

/// `dx = dy·W`
HostTensor linearBackward(const HostTensor &dy, const HostTensor &w);

/// `y[i] = x[i]·c - x[i+d/2]·s`, `y[i+d/2] = x[i+d/2]·c + x[i]·s` at the angle `position ·
/// frequencies[i]`, c and s times `factor`; `inverse` turns back.
HostTensor rope(const HostTensor &x, const HostTensor &positions,
                const std::vector<double> &frequencies, double factor, bool inverse);

/// What makes a logit of a product, and its derivative.
struct Logit {
  double value, derivative;
};
using LogitOf = std::function<Logit(double product)>;
inline Logit theProduct(double product) { return {product, 1}; }

/// `row_loss[m] = logsumexp(z[m]) - z[m, labels[m]]` of the logits `z = logit(h·Wᵀ)`, 0 where the
/// label is -100
HostTensor crossEntropy(const HostTensor &h, const HostTensor &w, const HostTensor &labels,
                        const LogitOf &logit = theProduct);

struct LossGradient {
  HostTensor rowLoss, dh;
};
/// `dh = lossScale · (softmax(z) - onehot(label))·logit'·W`, 0 where the label is -100
LossGradient crossEntropyBackward(const HostTensor &h, const HostTensor &w,
                                  const HostTensor &labels, double lossScale,
                                  const LogitOf &logit = theProduct);

// Attention.

/// What is made of a score, and which keys are seen.
struct Scores {
  double scale;
  int64_t window = 0; ///< keys, a query's own among them; 0: all before
  double softcap = 0; ///< 0: none
};
struct AttentionResult {
  HostTensor o, lse;
};
/// `o = softmax(scale · q·kᵀ + causal mask)·v` inside each segment `[starts[i], starts[i+1])`; lse
/// is of the scaled (and capped) scores.
AttentionResult attention(const HostTensor &q, const HostTensor &k, const HostTensor &v,
                          const HostTensor &starts, const Scores &scores);

/// Keys and values of one sequence, `[positions, kv_heads, d]`.
struct CachedSequence {
  HostTensor k, v;
};
/// Segment i holds the new rows of `cache[i]`, which stand at `positions` behind those that it has:
/// their keys and values are added to it, and they see all up to themselves.
HostTensor cachedAttention(const HostTensor &q, const HostTensor &k, const HostTensor &v,
                           const HostTensor &starts, std::vector<CachedSequence> &cache,
                           const Scores &scores);

struct AttentionGradient {
  HostTensor dq, dk, dv;
};
/// `p = exp(scale·q·kᵀ - lse)`, `dv = pᵀ·do`, `ds = p·(do·vᵀ - rowsum(do·o))`, `dq = scale·ds·k`,
/// `dk = scale·dsᵀ·q`
AttentionGradient attentionBackward(const HostTensor &q, const HostTensor &k, const HostTensor &v,
                                    const HostTensor &starts, const HostTensor &o,
                                    const HostTensor &lse, const HostTensor &dout,
                                    const Scores &scores);

// Adapters.

/// `y = scale · (x·Aᵀ)·Bᵀ`
HostTensor lowRank(const HostTensor &x, const HostTensor &a, const HostTensor &b, double scale);

struct OrthogonalTerm {
  HostTensor gradient, norm;
};
/// `norm = ‖G - I‖_F`, `gradient = scale/norm·(G - I)`; I has no 1 where G's diagonal is 0.
OrthogonalTerm orthogonalTerm(const HostTensor &gram, double scale);

struct LowRankGradient {
  HostTensor da, db, dx;
};
/// `dt = scale·dy·B`, `dx = dt·A`, `da = dtᵀ·x`, `db = scale·dyᵀ·(x·Aᵀ)`
LowRankGradient lowRankBackward(const HostTensor &x, const HostTensor &a, const HostTensor &b,
                                const HostTensor &dy, double scale);

/// `norm[i] = sqrt(Σk (W[i,k] + scale·Σr B[i,r]·A[r,k])²)`
HostTensor weightNorm(const HostTensor &w, const HostTensor &a, const HostTensor &b, double scale);

/// `y[j] = Σm x[m,j]`
HostTensor sumRows(const HostTensor &x);

/// What keys the dropout generator beside the element and the stream (docs/plan.md, "Kernel
/// families (cpu)").
struct DropoutKey {
  uint32_t seed = 0, step = 0, micro = 0;
};
/// `y = x · keep / (1 - p)`; keep of element e where `Philox4x32-10(e/4, stream, micro; seed,
/// step)[e%4] >= p·2³²`
HostTensor dropout(const HostTensor &x, double p, int64_t stream, DropoutKey key);

/// `C[m,j] = scale·Σk A[m,k]·B[j,k]`
HostTensor matmulNT(const HostTensor &a, const HostTensor &b, double scale);
/// `C[m,j] = scale·Σk A[m,k]·B[k,j]`
HostTensor matmulNN(const HostTensor &a, const HostTensor &b, double scale);
/// `C[i,j] = scale·Σm A[m,i]·B[m,j]`
HostTensor matmulTN(const HostTensor &a, const HostTensor &b, double scale);

/// Rows `[from, from + n)`, columns `[from, from + n)`; matrices below and beside each other.
HostTensor rowsOf(const HostTensor &x, int64_t from, int64_t n);
HostTensor columnsOf(const HostTensor &x, int64_t from, int64_t n);
HostTensor stackRows(const std::vector<HostTensor> &parts);
HostTensor concatColumns(const std::vector<HostTensor> &parts);

/// `a + b`, elementwise
HostTensor add(const HostTensor &a, const HostTensor &b);

} // namespace lorac::reference
