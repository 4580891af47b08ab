// Adafactor (Shazeer & Stern 2018), as transformers has it: of the squared gradients it keeps
// averages over rows and columns alone. A parameter of one dimension is a column, whose average
// over rows is one of each number.

#include "compiler/optimizers/Optimizer.h"

using namespace lorac;
using namespace lorac::optimizers;
using lora::Storage;

// g / sqrt(v), where v is the product of what is kept of rows and columns.
template <typename Body>
static Element scaled(Body &of) {
  Element ofRow = of.read("exp_avg_sq_row") / of.read("row_mean");
  Element ofColumn = of.read("exp_avg_sq_col");
  return of.grad() / sqrt(ofRow) / sqrt(ofColumn);
}

static void steps(Steps &step) {
  const Keys &keys = step.keys;
  const Host keep = Host(1) - pow(Host::update(), keys.decayRate);
  for (auto [line, state] : {std::pair(Storage::Rows, "exp_avg_sq_row"),
                             std::pair(Storage::Columns, "exp_avg_sq_col")}) {
    Terms &squares = step.average(line, state, keep);
    Element g = squares.grad();
    squares.give(g * g + squares.scalar("eps", keys.eps));
  }
  Terms &rows = step.mean(Storage::Parameters, "row_mean");
  rows.give(rows.read("exp_avg_sq_row"));
  Terms &length = step.mean(Storage::Parameters, "mean_square");
  Element u = scaled(length);
  length.give(u * u);
  if (keys.scaleParameter) {
    Terms &size = step.mean(Storage::Parameters, "param_square");
    Element p = size.read("params");
    size.give(p * p);
  }

  llvm::SmallVector<llvm::StringRef> reads;
  if (keys.firstBeta != 0)
    reads.push_back("exp_avg");
  reads.append({"exp_avg_sq_row", "exp_avg_sq_col", "row_mean", "mean_square"});
  if (keys.scaleParameter)
    reads.push_back("param_square");
  Update &update = step.map("", reads);
  Element rate = keys.relativeStep
                     ? update.scalar("rate", min(1e-2, Host(1) / sqrt(Host::update())))
                     : update.byGroup("rate", Host::rate());
  if (keys.scaleParameter)
    rate = max(sqrt(update.read("param_square")), update.number(1e-3)) * rate;
  Element clip =
      sqrt(update.read("mean_square")) / update.scalar("clip_threshold", keys.clipThreshold);
  Element taken = scaled(update) / max(clip, update.number(1)) * rate;
  llvm::SmallVector<Element> average;
  if (keys.firstBeta != 0) {
    Element kept = update.scalar("beta1", keys.firstBeta) * update.read("exp_avg");
    taken = kept + update.scalar("one_minus_beta1", Host(1) - keys.firstBeta) * taken;
    average.push_back(taken);
  }
  Element p = update.param();
  Element decay = update.scalar("weight_decay", keys.weightDecay) * rate * p;
  update.give(p - decay - taken, average);
}

static constexpr State states[] = {{.name = "exp_avg", .needs = &Keys::firstBeta},
                                   {"exp_avg_sq_row", Storage::Rows},
                                   {"exp_avg_sq_col", Storage::Columns}};

namespace lorac::optimizers {
extern const Optimizer optimizerAdafactor;
}
const Optimizer lorac::optimizers::optimizerAdafactor = {"adafactor", states, nullptr, steps};
