# What works against overfitting, from the spec to the folder (docs/regularization.md): explain says it, a run that is cut and resumed
# ends in the same bytes, early stopping ends with the best adapter.
source "$(dirname "$0")/common.sh"
cd "$source"

# All terms of the loss at once, over two methods; the first loss of a drawn adapter, whose B is 0, is known.
terms=(--set train.label_smoothing_factor=0.1 --set adapter.l2_sp_weight=0.5 --set adapter.orth_reg_weight=0.1
  --set optimizer.weight_decay=0.1 --set optimizer.weight_decay_lora_B=0)
expect 0 "$lorac" explain specs/tiny_lora.toml "${terms[@]}"
prints "Loss: cross entropy, of each label 0.1 spread over the vocabulary; held-out losses are of the labels as they are, and 0.1 x the mean of 28 norms of what keeps A and B from orthogonal, and 0.5 / 2 x the squared distance of all parameters from where they began"
prints "  lora_B          0.005             0"
expect 0 "$lorac" explain specs/tiny_lora.toml "${terms[@]}" --json
python3 - "$work/stdout" <<'P' || fail "explain --json says something else"
import json, sys
said = json.load(open(sys.argv[1]))
assert (said["label_smoothing_factor"], said["l2_sp_weight"], said["orth_reg_weight"]) == (0.1, 0.5, 0.1), said
assert [group["weight_decay"] for group in said["groups"]] == [0.1, 0], said["groups"]
assert said["bytes"]["optimizer_states"] == 3 * said["bytes"]["parameters"], said["bytes"]
P
expect 0 "$lorac" explain specs/tiny_lora.toml
! grep -q "^Loss:" "$work/stdout" || fail "a plain loss is explained"

for method in lora dora; do
  flags=("${terms[@]}" --set train.steps=8 --set train.save_steps=2 --set adapter.use_dora=$([[ $method == dora ]] && echo true || echo false))
  expect 0 "$lorac" compile specs/tiny_lora.toml "${flags[@]}" -o "$work/$method"
  expect 0 "$work/$method/train" --out "$work/$method-whole"
  expect 0 "$work/$method/train" --out "$work/$method-cut"
  rm -r "$work/$method-cut/checkpoint-8" "$work/$method-cut/checkpoint-6" "$work/$method-cut/adapter_model.safetensors"
  expect 0 "$work/$method/train" --out "$work/$method-cut" --resume
  says "at step 4 of 8"
  same "$work/$method-whole/adapter_model.safetensors" "$work/$method-cut/adapter_model.safetensors"
  diff <(metric l2_sp "$work/$method-whole/metrics.jsonl") <(metric l2_sp "$work/$method-cut/metrics.jsonl") || fail "pulled elsewhere"
  expect 0 "$work/$method/train" --threads 3 --out "$work/$method-threads"
  same "$work/$method-whole/adapter_model.safetensors" "$work/$method-threads/adapter_model.safetensors"
done
expect 0 "$lorac" train specs/tiny_lora.toml --set train.steps=1 --generated "$work/plain" --out "$work/plain-out" --quiet
python3 - "$work/lora-whole/metrics.jsonl" "$work/plain-out/metrics.jsonl" <<'P' || fail "other terms"
import json, sys
steps, plain = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
first = steps[0]
assert first["l2_sp"] == 0 and all(line["l2_sp"] > 0 for line in steps[1:]), steps
# A row of A has U(-1/8, 1/8) or U(-1/13.3, 1/13.3): far from length 1. B is 0, so ‖BᵀB - I‖ = √4.
assert 1.5 < first["orthogonality"] < 2, first
# Over 512 words whose logits hardly differ yet, smoothing changes little.
smoothed = first["loss"] - 0.1 * first["orthogonality"]
assert smoothed != plain[0]["loss"] and abs(smoothed - plain[0]["loss"]) < 0.2, (first, plain[0])
P
python3 - "$work/lora-whole/checkpoint-2/optimizer.safetensors" "$work/lora-whole/checkpoint-8/optimizer.safetensors" <<'P' || fail "the start moved"
import sys
sys.path.insert(0, "tests/e2e")
import foreign
early, late = ({name: tensor for name, tensor in foreign.read(path)[0].items() if name.startswith("start.")} for path in sys.argv[1:])
assert early == late and len(early) == 28, sorted(early)
P

# The run ends where the held-out loss falls no more: the golden model reads bytes, and so fast a rate soon learns them by heart.
mkdir "$work/model"
cp tests/golden/tiny/tied/{config.json,model.safetensors} "$work/model/"
cp tests/golden/tokenizer/bytelevel.tokenizer.json "$work/model/tokenizer.json"
cat >"$work/stop.toml" <<END
[model]
source = "$work/model"
[adapter]
r = 8
lora_alpha = 16
[optimizer]
learning_rate = 0.05
[schedule]
name = "constant"
[[data]]
path = "$source/tests/fixtures/prose.md"
format = "text"
separator = "\n\n"
eval_fraction = 0.1
[train]
steps = 400
batch_size = 2
max_length = 32
eval_steps = 2
save_steps = 0
save_total_limit = 1
[train.early_stopping]
patience = 3
min_delta = 0.01
[target]
device = "cpu"
END
expect 0 "$lorac" train "$work/stop.toml" --generated "$work/stop" --out "$work/stopped"
says "has made no progress in 3 evaluations: the run ends"
python3 - "$work/stopped/metrics.jsonl" >"$work/best" <<'P' || fail "it ended elsewhere"
import json, sys
evals = [(line["step"], line["eval_loss"]) for line in map(json.loads, open(sys.argv[1])) if "eval_loss" in line and line["step"] > 0]
best, stalled = None, 0
for step, loss in evals:
    stalled = 0 if best is None or best[1] - loss > 0.01 else stalled + 1
    if best is None or loss < best[1]:
        best = step, loss
    assert (stalled == 3) == (step == evals[-1][0]), evals
assert evals[-1][0] < 400 and best[0] < evals[-1][0], evals
print(*best)
P
read -r step loss <"$work/best"
says "adapter of step $step, the best on held-out samples"
same "$work/stopped/adapter_model.safetensors" "$work/stopped/checkpoint-$step/adapter_model.safetensors"
[[ $(ls -d "$work/stopped"/checkpoint-* | wc -l) == 2 ]] || fail "more checkpoints than the best and the last"
expect 0 "$lorac" verify "$work/stopped"
expect 0 "$work/stop/train" --out "$work/stopped" --resume
says "done: step"
same "$work/stopped/adapter_model.safetensors" "$work/stopped/checkpoint-$step/adapter_model.safetensors"
expect 3 "$lorac" check specs/tiny_lora.toml --set train.load_best=true
says "'train.load_best' goes by the held-out loss, and nothing is held out"
