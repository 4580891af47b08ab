// What the kernels of this folder compute, in double precision and the plainest loops.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_REFERENCE_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_REFERENCE_H

#include <cstdint>
#include <vector>

namespace lorac::testing {

using Doubles = std::vector<double>;

/// y = x / sqrt(mean(x²) + eps) · w over rows of n.
Doubles rmsNorm(const Doubles &x, const Doubles &w, int64_t n, double eps);

/// dx of rmsNorm by the chain rule, each partial derivative formed by itself.
Doubles rmsNormBackward(const Doubles &x, const Doubles &w, const Doubles &dy, int64_t n,
                        double eps);

/// Each pair (x[i], x[i + d/2]) as a complex number, turned by the angle of its position.
Doubles rotate(const Doubles &x, const std::vector<int32_t> &positions, int64_t heads, int64_t d,
               double theta, bool inverse);

struct CrossEntropy {
  Doubles loss;
  Doubles dlogits;
};
CrossEntropy crossEntropy(const Doubles &logits, const std::vector<int32_t> &labels, int64_t vocab,
                          double lossScale, double smoothing = 0);

struct AttentionShape {
  int64_t heads, kvHeads, dim;
  double scale;
  std::vector<int32_t> starts;
};
struct Attention {
  Doubles o, lse;
};
struct AttentionGradients {
  Doubles dq, dk, dv;
};
/// Softmax over whole rows, one query at a time.
Attention attention(const Doubles &q, const Doubles &k, const Doubles &v,
                    const AttentionShape &shape);
/// By the textbook's softmax Jacobian, from q, k, v and do alone.
AttentionGradients attentionBackward(const Doubles &q, const Doubles &k, const Doubles &v,
                                     const Doubles &dout, const AttentionShape &shape);

} // namespace lorac::testing

#endif
