// row_loss = log Σ exp(z) - z[label]; backward: z becomes (softmax(z) - onehot(label))·loss_scale.
// A row without label has loss 0 and gradient 0. Rows of logits pass three times through the cache:
// maximum, sum, scale. A body makes z of the products first, and leaves its derivative in scratch.
// With smoothing ε the target is (1 - ε)·onehot(label) + ε/vocab; Σ z passes once more.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/MapBody.h"
#include "runtime/abi.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family crossEntropyFamily;
}

static int64_t paddedVocab(DictionaryAttr params) { return roundUp(intParam(params, "vocab"), 16); }

// `derivative`: a body's is kept for the backward pass.
static FailureOr<KernelShape> describe(Location, DictionaryAttr params, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows,
                     .tile = 1,
                     .scratch = params.contains("derivative") ? 4 * paddedVocab(params) : 0};
}

namespace {

class CrossEntropyRow {
public:
  /// `derivatives` of a row, where `body` makes the logits.
  CrossEntropyRow(KernelBuilder &k, Value m, int64_t vocab, int64_t ld, bool backward,
                  double smoothing, Block *body, Value derivatives)
      : k(k), m(m), vocab(vocab), ld(ld), backward(backward), smoothing(smoothing), body(body),
        derivatives(derivatives), logits(k.buffer(0)) {}

  void emit() {
    Value label = k.load(k.buffer(1), m);
    auto loss = k.ifElse(
        k.equal(label, k.constI32(LORAC_NO_LABEL)), k.f32(),
        [&] {
          if (backward)
            zero(0);
          return KernelBuilder::Values{k.constF32(0)};
        },
        [&] { return KernelBuilder::Values{labelled(k.toIndex(label))}; });
    k.store(loss[0], k.buffer(2), m);
  }

private:
  static constexpr int accumulators = 4;

  Value labelled(Value label) {
    if (body)
      makeLogits();
    Value atLabel = k.load(logits, {m, label});
    Value largest = maximum();
    Value below = k.subf(largest, atLabel); // largest - Σ target·z
    if (smoothing != 0)
      below = k.addf(k.mulf(k.constF32(1 - smoothing), below),
                     k.mulf(k.constF32(smoothing / double(vocab)), sumBelow(k.broadcast(largest))));
    Value sum = sumOfExponentials(k.broadcast(largest));
    Value loss = k.addf(below, logOf(k, sum));
    if (!backward)
      return loss;
    Value scale = k.broadcast(k.divf(k.lossScale(), sum)), hit = k.lossScale(), even;
    if (smoothing != 0) {
      even = k.broadcast(k.mulf(k.constF32(smoothing / double(vocab)), k.lossScale()));
      hit = k.mulf(k.constF32(1 - smoothing), k.lossScale());
    }
    overColumns(k, vocab, [&](Value column, int64_t live) {
      Value gradient = k.mulf(k.vload(logits, {m, column}), scale);
      if (even)
        gradient = k.subf(gradient, even);
      k.vstore(keepLive(k, gradient, live, k.splatF32(0)), logits, {m, column});
    });
    zero((vocab + k.lanes() - 1) / k.lanes() * k.lanes());
    k.store(k.subf(k.load(logits, {m, label}), hit), logits, {m, label});
    if (body)
      overColumns(k, vocab, [&](Value column, int64_t live) {
        Value slope = keepLive(k, k.vload(derivatives, column), live, k.splatF32(0));
        k.vstore(k.mulf(k.vload(logits, {m, column}), slope), logits, {m, column});
      });
    return loss;
  }

  void makeLogits() {
    overColumns(k, vocab, [&](Value column, int64_t) {
      KernelBuilder::Values made = vectoriseMapBody(k, *body, k.vload(logits, {m, column}));
      k.vstore(made[0], logits, {m, column});
      if (backward)
        k.vstore(made[1], derivatives, column);
    });
  }

  Value maximum() {
    Value none = k.splatF32(-std::numeric_limits<double>::infinity());
    auto parts =
        overColumns(k, vocab, KernelBuilder::Values(accumulators, none),
                    [&](Value column, int64_t live, Value best) {
                      return k.maxf(keepLive(k, k.vload(logits, {m, column}), live, none), best);
                    });
    Value best = k.maxf(k.maxf(parts[0], parts[1]), k.maxf(parts[2], parts[3]));
    return k.reduceMax(best);
  }

  /// Σ (largest - z).
  Value sumBelow(Value largest) {
    return sumOf(k, overColumns(k, vocab, KernelBuilder::Values(accumulators, k.splatF32(0)),
                                [&](Value column, int64_t live, Value sum) {
                                  Value below = k.subf(largest, k.vload(logits, {m, column}));
                                  return k.addf(sum, keepLive(k, below, live, k.splatF32(0)));
                                }));
  }

  /// In the backward pass the exponentials stay where the logits were.
  Value sumOfExponentials(Value largest) {
    auto parts = overColumns(k, vocab, KernelBuilder::Values(accumulators, k.splatF32(0)),
                             [&](Value column, int64_t live, Value sum) {
                               Value value = expOf(k, k.subf(k.vload(logits, {m, column}), largest),
                                                   ExpRange::NotPositive);
                               value = keepLive(k, value, live, k.splatF32(0));
                               if (backward)
                                 k.vstore(value, logits, {m, column});
                               return k.addf(sum, value);
                             });
    return sumOf(k, parts);
  }

  /// Columns from..ld, padding included.
  void zero(int64_t from) {
    k.forLoop(k.index(from), k.index(ld), k.lanes(),
              [&](Value column) { k.vstore(k.splatF32(0), logits, {m, column}); });
  }

  KernelBuilder &k;
  Value m;
  int64_t vocab, ld;
  bool backward;
  double smoothing;
  Block *body;
  Value derivatives, logits;
};

} // namespace

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  int64_t vocab = kernel.intParam("vocab"), ld = kernel.intParam("ld");
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(context, ld),
                   KernelBuilder::dense({manyRows}, IntegerType::get(context, 32)),
                   KernelBuilder::dense({manyRows}, Float32Type::get(context))});
  Block *body = kernel.getBody().empty() ? nullptr : &kernel.getBody().front();
  if (body && failed(checkMapBody(*body)))
    return failure();
  Value derivatives;
  if (kernel.hasParam("derivative"))
    derivatives = k.scratchF32(0, {paddedVocab(kernel.getParams())});
  const double smoothing = kernel.hasParam("smoothing") ? kernel.floatParam("smoothing") : 0;
  forEachRow(k, kernel.getTile(), [&](Value m) {
    CrossEntropyRow(k, m, vocab, ld, kernel.intParam("backward"), smoothing, body, derivatives)
        .emit();
  });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return 4 * rows * intParam(params, "vocab");
}

const Family lorac::cpu::crossEntropyFamily = {
    "cross_entropy",
    "row_loss = log Σ exp(z) - z[label]; backward: z = (softmax(z) - onehot(label))·loss_scale",
    describe, build, flops};
