// AdaLoRA in a spec: values, the schedule against the run's steps, and what a budget means for a
// model. What PEFT finds out in the middle of a run, or never, is an error here, with the numbers.

#include "dsl/Check.h"
#include "dsl/Text.h"

#include <algorithm>

namespace lorac::dsl {

namespace {

/// A value in a message: one that was not given is named as the default.
std::string named(const char *key, const Field<int64_t> &field) {
  return std::string("'") + key + "' = " + shown(*field) + (field.given() ? "" : " (the default)");
}

class AdaLoraChecker {
public:
  AdaLoraChecker(const Spec &spec, Diagnostics &diags)
      : diags(diags), spec(spec), a(spec.adapter), ada(*spec.adapter.adalora),
        good(!ada.initR.refused && !ada.targetR.refused && !ada.budget.refused &&
             !ada.tinit.refused && !ada.tfinal.refused && !ada.deltaT.refused) {}

  void run() {
    elsewhere();
    ranks();
    const TrainSpec &t = spec.train;
    if (t.epochs.given())
      diags
          .error(t.epochs.range,
                 "method = \"adalora\" needs 'train.steps': its schedule counts steps, and how "
                 "many an epoch has is known only with the data; write steps instead of epochs")
          .note(a.method.range, "the method is given here");
    bool known = t.steps.given() && !t.steps.refused && *t.steps > 0 && *t.steps <= MaxCount;
    if (known && good)
      schedule();
  }

private:
  /// Where to point: at the key that was given, of those that a message is about.
  SourceRange at(std::initializer_list<const SourceRange *> ranges) const {
    for (const SourceRange *range : ranges)
      if (*range)
        return *range;
    return ada.range ? ada.range : a.method.range;
  }

  /// Keys of other methods.
  void elsewhere() {
    if (a.r.given())
      diags.error(a.r.range, "'adapter.r' is for method = \"lora\"; AdaLoRA begins with 'init_r' "
                             "in [adapter.adalora] and ends with 'target_r'");
    if (*a.useRslora)
      diags.error(a.useRslora.range, "'use_rslora' is for method = \"lora\": AdaLoRA's scale is "
                                     "lora_alpha / (init_r + 1e-5) to the end; leave it out");
    if (*a.useDora)
      diags.error(a.useDora.range,
                  "'use_dora' is for method = \"lora\": AdaLoRA has no magnitudes, "
                  "and PEFT's files of it no place for them; leave it out");
    if (*a.useGate)
      diags.error(a.useGate.range, "'use_gate' is for method = \"lora\": AdaLoRA's triplets have a "
                                   "factor already, lora_E; leave it out");
  }

  void ranks() {
    if (ada.targetR.given() && ada.budget.given())
      diags.error(ada.budget.range, "'target_r' and 'budget' are both given: keep one")
          .note(ada.targetR.range, "'target_r' is here");
    bool ruled = std::any_of(a.rules.begin(), a.rules.end(),
                             [](const AdapterRule &rule) { return rule.r.given(); });
    // With ranks by rule, and with a budget, only sums count: resolveRankBudget.
    if (good && !ruled && !ada.budget.given() && *ada.targetR > *ada.initR)
      diags.error(at({&ada.targetR.range, &ada.initR.range}),
                  named("target_r", ada.targetR) + " is larger than " + named("init_r", ada.initR) +
                      ": ranks only fall; lower target_r or raise init_r");
    for (const AdapterRule &rule : a.rules) {
      if (!rule.minR.refused && !rule.maxR.refused && rule.minR.given() && rule.maxR.given() &&
          *rule.minR > *rule.maxR)
        diags
            .error(rule.minR.range, "'min_r' = " + shown(*rule.minR) +
                                        " is larger than 'max_r' = " + shown(*rule.maxR))
            .note(rule.maxR.range, "'max_r' is here");
    }
  }

  void schedule() {
    const int64_t steps = *spec.train.steps, last = steps - 1;
    const int64_t tinit = *ada.tinit, tfinal = *ada.tfinal, deltaT = *ada.deltaT;
    const int64_t finalStep = steps - tfinal;
    if (tinit >= finalStep) {
      diags
          .error(
              at({&ada.tfinal.range, &ada.tinit.range, &spec.train.steps.range}),
              "no step is left in which ranks fall: tinit + tfinal < train.steps does not hold, " +
                  shown(tinit) + " + " + shown(tfinal) + " = " + shown(tinit + tfinal) +
                  " against " + shown(steps) + "; lower tinit or tfinal, or train longer")
          .note(spec.train.steps.range, "the steps are given here");
      return;
    }
    // Allocations fall on multiples of deltaT behind tinit, and on the final step if there is one.
    const int64_t first = (tinit / deltaT + 1) * deltaT;
    if (tfinal == 0 && first > last)
      diags.error(at({&ada.deltaT.range, &ada.tinit.range}),
                  "ranks are never allocated: the first multiple of deltaT = " + shown(deltaT) +
                      " behind tinit = " + shown(tinit) + " is step " + shown(first) +
                      ", and the last step is " + shown(last) +
                      " (steps count from 0); lower deltaT, or give tfinal");
    else if (first >= finalStep)
      diags.warning(at({&ada.deltaT.range, &ada.tfinal.range}),
                    "all ranks fall at once, at step " + shown(finalStep) +
                        ": no multiple of deltaT = " + shown(deltaT) + " lies between tinit = " +
                        shown(tinit) + " and the final phase; lower deltaT or tinit");
    if (tfinal == 0)
      noFinalPhase(first, last);
    if (ada.plateau)
      plateau(finalStep);
  }

  void noFinalPhase(int64_t first, int64_t last) {
    const int64_t deltaT = *ada.deltaT;
    if (*ada.prune == PruneMode::Final)
      diags.error(ada.prune.range,
                  "prune = \"final\" removes triplets where the final phase begins, and tfinal = 0 "
                  "leaves none; give tfinal, or prune = \"mask\" for PEFT's way");
    else if (*ada.prune != PruneMode::Eager && first <= last && last % deltaT != 0)
      diags.warning(at({&ada.deltaT.range}),
                    "the last allocation is at step " + shown(last / deltaT * deltaT) +
                        " and training goes on to step " + shown(last) +
                        ": what masked triplets regain meanwhile is cut off at the end; give "
                        "tfinal");
  }

  void plateau(int64_t finalStep) {
    const SourceRange &range = ada.plateau->range;
    if (*ada.tfinal == 0)
      diags.error(range, "[adapter.adalora.plateau] needs tfinal: pruning that was delayed is made "
                         "up for where the final phase begins");
    const TrainSpec &t = spec.train;
    const int64_t every = *t.evalSteps;
    // Evaluations follow steps every - 1, 2 every - 1, …
    if (every <= 0 || finalStep / every * every - 1 <= *ada.tinit)
      diags
          .error(t.evalSteps.given() ? t.evalSteps.range : range,
                 "[adapter.adalora.plateau] needs evaluations while ranks fall, in steps " +
                     shown(*ada.tinit + 1) + " to " + shown(finalStep - 1) +
                     ", and 'train.eval_steps' = " + shown(every) + " has none there; lower it")
          .note(range, "the plateau is asked for here");
    for (const DataSpec &data : spec.data)
      if (*data.evalFraction == 0)
        diags
            .error(data.evalFraction.given() ? data.evalFraction.range : data.range,
                   "[adapter.adalora.plateau] needs a held-out loss, and 'data.eval_fraction' is 0")
            .note(range, "the plateau is asked for here");
  }

  Diagnostics &diags;
  const Spec &spec;
  const AdapterSpec &a;
  const AdaLoraSpec &ada;
  const bool good; ///< the values by themselves
};

/// Shapes by module: [out, in].
const BoundWeight *weightOf(const BoundModel &model, const std::string &module) {
  for (const BoundWeight &weight : model.weights)
    for (int64_t layer = 0; layer < (weight.perLayer ? model.layers : 1); ++layer)
      if (weight.shape.size() == 2 && weight.module(layer) == module)
        return &weight;
  return nullptr;
}

} // namespace

void checkAdaLora(const Spec &spec, Diagnostics &diags) {
  const AdapterSpec &a = spec.adapter;
  if (*a.method == AdapterMethod::AdaLora)
    return AdaLoraChecker(spec, diags).run();
  if (a.adalora)
    diags.error(a.adalora->range, "[adapter.adalora] is for method = \"adalora\"")
        .note(a.method.given() ? a.method.range : a.range, "the method is \"lora\"");
  for (const AdapterRule &rule : a.rules)
    for (auto [key, field] : {std::pair("min_r", &rule.minR), std::pair("max_r", &rule.maxR)})
      if (field->given())
        diags.error(field->range, std::string("'") + key + "' is for method = \"adalora\"");
}

std::optional<RankBudget> resolveRankBudget(const Spec &spec, const BoundModel &model,
                                            const std::vector<AdapterChoice> &choices,
                                            Diagnostics &diags) {
  if (*spec.adapter.method != AdapterMethod::AdaLora || choices.empty())
    return std::nullopt;
  const AdaLoraSpec &ada = *spec.adapter.adalora;
  const size_t errors = diags.errors();
  RankBudget out;
  int64_t least = 0, most = 0;
  const Field<int64_t> *lower = nullptr, *upper = nullptr;
  std::vector<SourceRange> told; // a rule is for many modules: one message
  auto tell = [&](const Field<int64_t> &field, const std::string &message) {
    bool again = std::any_of(told.begin(), told.end(), [&](const SourceRange &range) {
      return range.file == field.range.file && range.beginLine == field.range.beginLine &&
             range.beginColumn == field.range.beginColumn;
    });
    if (!again)
      diags.error(field.range, message);
    told.push_back(field.range);
  };
  for (const AdapterChoice &choice : choices) {
    const std::string where = " of '" + choice.module + "'";
    if (choice.minR.given() && *choice.minR > choice.r)
      tell(choice.minR, "'min_r' = " + shown(*choice.minR) + " is above the initial rank " +
                            shown(choice.r) + where + ": ranks only fall");
    else if (choice.maxR.given() && *choice.maxR > choice.r)
      tell(choice.maxR, "'max_r' = " + shown(*choice.maxR) + " is above the initial rank " +
                            shown(choice.r) + where + ": ranks only fall");
    else if (*choice.minR > choice.most())
      tell(choice.minR, "'min_r' = " + shown(*choice.minR) + " is larger than 'max_r' = " +
                            shown(choice.most()) + " of another rule for '" + choice.module + "'");
    if (choice.minR.given())
      lower = &choice.minR;
    if (choice.maxR.given())
      upper = &choice.maxR;
    least += *choice.minR;
    most += choice.most();
    out.initial += choice.r;
    if (const BoundWeight *weight = weightOf(model, choice.module))
      out.initialParameters += choice.r * (weight->shape[0] + weight->shape[1] + 1);
  }

  const int64_t modules = static_cast<int64_t>(choices.size());
  const std::string begins = shown(out.initial) + " triplets in " + shown(modules) + " modules";
  const Field<int64_t> &asked = ada.budget.given() ? ada.budget : ada.targetR;
  const SourceRange at = asked.given()       ? asked.range
                         : ada.initR.given() ? ada.initR.range
                         : ada.range         ? ada.range
                                             : spec.adapter.method.range;
  if (ada.budget.given()) {
    const int64_t budget = *ada.budget;
    if (budget > out.initialParameters)
      diags.error(at, "'budget' = " + shown(budget) + " is more than the " +
                          shown(out.initialParameters) + " parameters of the initial ranks (" +
                          begins + "): ranks only fall; lower it, or raise init_r");
    else
      out.target =
          static_cast<int64_t>(static_cast<__int128>(budget) * out.initial / out.initialParameters);
    if (budget <= out.initialParameters && out.target == 0)
      diags.error(at, "'budget' = " + shown(budget) + " is less than one triplet has, on average " +
                          shown(out.initialParameters / out.initial) + " parameters");
  } else {
    out.target = *ada.targetR * modules;
    if (out.target > out.initial)
      diags.error(at, named("target_r", ada.targetR) + " on " + shown(modules) + " modules is " +
                          shown(out.target) + " ranks, more than the initial " +
                          shown(out.initial) + ": ranks only fall; lower target_r or raise init_r");
  }
  if (diags.errors() != errors)
    return std::nullopt;
  if (least > out.target) {
    diags.error(lower->range, "the bounds 'min_r' keep " + shown(least) +
                                  " ranks in all, more than the " + shown(out.target) +
                                  " of the target; lower min_r, or raise " +
                                  (ada.budget.given() ? "budget" : "target_r"));
    return std::nullopt;
  }
  if (most < out.target)
    diags.warning(upper->range, "the bounds 'max_r' leave " + shown(most) +
                                    " ranks in all, of the " + shown(out.target) +
                                    " of the target");
  else if (out.target == out.initial && most == out.initial)
    diags.warning(at, "nothing is pruned: the target is the " + begins + " of the start");
  return out;
}

} // namespace lorac::dsl
