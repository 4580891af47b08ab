// row_loss = log Σ exp(z) - z[label]; backward: dlogits = (softmax(z) - onehot(label))·loss_scale.
// A row without label has loss 0 and gradient 0. A block a row of logits, which pass once for the
// maximum and the sum, and once more for the gradient: each thread keeps the sum of exp(z - m) for
// the largest z = m that it met (Milakov and Gimelshein 2018). A body makes z of each product as it
// is read. With smoothing ε the target is (1 - ε)·onehot(label) + ε/vocab.

#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/families/MapBody.h"
#include "compiler/codegen/cuda/families/Pieces.h"
#include "runtime/abi.h"

using namespace mlir;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family crossEntropyFamily;
}

static constexpr int64_t threads = 512;

// A number that all threads of the block get, from each thread's own: over each warp, then over the
// warps in their order.
static Num overBlock(DeviceBuilder &d, StringRef name, Value scratch, Num value,
                     llvm::function_ref<Num(Num)> overWarp,
                     llvm::function_ref<Num(Num, Num)> join) {
  Num partial = overWarp(value);
  d.where(d.lane() == 0, [&] { d.store(partial, scratch, {d.warp()}); });
  d.barrier();
  Num all = d.loadNum(scratch, {d.constant(0)});
  for (int64_t warp = 1; warp < threads / 32; ++warp)
    all = join(all, d.loadNum(scratch, {d.constant(warp)}));
  return d.named(name, all);
}

static LogicalResult build(Kernel &kernel) {
  int64_t vocab = kernel.integer("vocab"), ld = kernel.integer("ld");
  bool backward = kernel.flag("backward");
  const double smoothing = kernel.has("smoothing") ? kernel.number("smoothing") : 0;
  SmallVector<DeviceBuilder::Argument> arguments{kernel.argument("logits", 0),
                                                 kernel.argument("labels", 1),
                                                 kernel.argument("row_loss", 2, true)};
  if (backward)
    arguments.push_back(kernel.argument("dlogits", 3, true));
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(), arguments);
  Value logits = d.next(), labels = d.next(), rowLoss = d.next(),
        dlogits = backward ? d.next() : Value();
  Int row = d.named("row", d.blockX());
  d.returnIf(d.rows() <= row);
  Value largestOfWarps = d.shared("largest_of_warps", threads / 32, d.f32()),
        sumsOfWarps = d.shared("sums_of_warps", threads / 32, d.f32()),
        logitsOfWarps =
            smoothing != 0 ? d.shared("logits_of_warps", threads / 32, d.f32()) : Value();
  Int label = d.named("label", d.loadInt(labels, {row}));
  Int begin = d.named("row_begin", row * ld);
  Pieces pieces(d, vocab);
  auto columns = [&](int64_t count, llvm::function_ref<void(Int)> body) {
    d.loop("col", d.thread() * Pieces::size, d.constant(count), threads * Pieces::size, body);
  };
  Block *body = kernel.op.getBody().empty() ? nullptr : &kernel.op.getBody().front();
  // A logit of a product, and its derivative where there is a body.
  auto logit = [&](Num product) -> std::pair<Num, Num> {
    if (!body)
      return {product, product};
    SmallVector<Value> made = cloneMapBody(d, *body, {product.v});
    return {d.named("logit", Num{&d, made[0]}), Num{&d, made[1]}};
  };
  auto eight = [&](llvm::function_ref<void(Int)> body) { d.unrolled("e", Pieces::size, body); };
  // Behind the last column of a ragged row stands nothing.
  auto there = [&](Int col, Int e) {
    return vocab % Pieces::size ? col + e < vocab : d.truth(true);
  };
  Value written = d.local("written", {Pieces::size}, d.f32());
  d.where(
      label == LORAC_NO_LABEL,
      [&] {
        d.where(d.thread() == 0, [&] { d.store(d.number(0), rowLoss, {row}); });
        if (!backward)
          return;
        eight([&](Int e) { d.store(d.number(0), written, {e}); });
        columns(vocab, [&](Int col) { pieces.store(written, dlogits, begin, col); });
      },
      [&] {
        Num least = d.number(-std::numeric_limits<float>::max());
        Value best = d.variable("best", least), part = d.variable("part", d.number(0)),
              own = smoothing != 0 ? d.variable("own_logits", d.number(0)) : Value();
        columns(vocab, [&](Int col) {
          Value z = pieces.load("z", logits, begin, col), most = d.variable("most", d.get(best));
          if (body)
            eight([&](Int e) { d.store(logit(d.loadNum(z, {e})).first, z, {e}); });
          eight([&](Int e) {
            d.set(most, max(d.get(most), d.select(there(col, e), d.loadNum(z, {e}), least)));
            if (own)
              d.set(own, d.get(own) + d.select(there(col, e), d.loadNum(z, {e}), d.number(0)));
          });
          Num now = d.named("now", d.get(most));
          d.set(part, d.get(part) * d.exp(d.get(best) - now));
          eight([&](Int e) {
            Num term = d.exp(d.loadNum(z, {e}) - now);
            d.set(part, d.get(part) + d.select(there(col, e), term, d.number(0)));
          });
          d.set(best, now);
        });
        Num largest = overBlock(
            d, "largest", largestOfWarps, d.get(best), [&](Num x) { return d.warpMax(x); },
            [](Num x, Num y) { return max(x, y); });
        auto summed = [&](StringRef name, Value scratch, Num value) {
          return overBlock(
              d, name, scratch, value, [&](Num x) { return d.warpSum(x); },
              [](Num x, Num y) { return x + y; });
        };
        Num sum = summed("sum", sumsOfWarps, d.get(part) * d.exp(d.get(best) - largest));
        Num logitSum = own ? summed("logit_sum", logitsOfWarps, d.get(own)) : sum;
        d.where(d.thread() == 0, [&] {
          Num atLabel = logit(d.loadNum(logits, {begin + label})).first;
          Num below = largest - atLabel; // largest - Σ target·z
          if (own)
            below = below * (1 - smoothing) +
                    (largest - logitSum / d.number(double(vocab))) * smoothing;
          d.store(d.log(sum) + below, rowLoss, {row});
        });
        if (!backward)
          return;
        Num scale = d.stepNum("loss_scale");
        Num share = d.named("share", scale / sum), atHit = scale, even = scale;
        if (own) {
          atHit = d.named("at_hit", scale * (1 - smoothing));
          even = d.named("even", scale * (smoothing / double(vocab)));
        }
        columns(vocab, [&](Int col) {
          Value z = pieces.load("z", logits, begin, col);
          eight([&](Int e) {
            Num hit = d.select(col + e == label, atHit, d.number(0));
            auto [value, slope] = logit(d.loadNum(z, {e}));
            Num gradient = d.exp(value - largest) * share - hit;
            if (own)
              gradient = gradient - even;
            d.store(body ? gradient * slope : gradient, written, {e});
          });
          pieces.store(written, dlogits, begin, col);
        });
      });
  return success();
}

static Grid grid(DictionaryAttr, const CudaTarget &, int64_t rows) { return {rows, 1, 1}; }

const Family lorac::cuda::crossEntropyFamily = {"cross_entropy",
                                                "row_loss = log Σ exp(z) - z[label]; backward: "
                                                "dlogits = (softmax(z) - onehot(label))·loss_scale",
                                                grid, build};
