# AdaLoRA's runs end in the same bytes, however many threads they have and wherever they are killed: 20 seeded moments around
# allocations, of which each is a run that is killed there and resumed. One of two runs has a budget that reacts to the data.
source "$(dirname "$0")/common.sh"
cd "$source"

# Windows of many micro-batches, so that a moment within a step can be met; few modules, so that a program is soon built.
flags=(--set 'adapter.target_modules=["q_proj", "v_proj"]' --set train.steps=40 --set train.save_steps=2
  --set train.gradient_accumulation_steps=4
  --set adapter.adalora.tinit=3 --set adapter.adalora.tfinal=12 --set adapter.adalora.deltaT=5)
compiled tiny_adalora "$work/bucketed" "${flags[@]}"

# A budget that reacts needs held-out text: the golden model reads bytes.
mkdir "$work/model"
cp tests/golden/tiny/tied/{config.json,model.safetensors} "$work/model/"
cp tests/golden/tokenizer/bytelevel.tokenizer.json "$work/model/tokenizer.json"
cat >"$work/eager.toml" <<END
[model]
source = "$work/model"
[adapter]
method = "adalora"
lora_alpha = 24
target_modules = "all-linear"
[adapter.adalora]
init_r = 12
target_r = 3
orth_reg_weight = 0.1
prune = "eager"
rebuild = "always"
[adapter.adalora.plateau]
patience = 1
min_delta = 0.02
[optimizer]
learning_rate = 5e-3
[[data]]
path = "$source/tests/fixtures/prose.md"
format = "text"
separator = "\n\n"
eval_fraction = 0.1
overlong = "split"
[train]
batch_size = 4
max_length = 32
eval_steps = 4
[target]
device = "cpu"
END
expect 0 "$lorac" compile "$work/eager.toml" -o "$work/eager" "${flags[@]}"

for mode in bucketed eager; do
  for threads in 1 2 4; do
    expect 0 "$work/$mode/train" --lorac "$lorac" --threads $threads --out "$work/$mode-$threads"
    for file in adapter_model.safetensors adapter_config.json; do
      same "$work/$mode-1/$file" "$work/$mode-$threads/$file"
    done
  done
done
# The pace changed something: the same run without it has other budgets.
budgets() { grep '"budget"' "$1/metrics.jsonl" | sed 's/.*"budget": \([0-9]*\).*/\1/'; }
sed '/plateau/,/min_delta/d' "$work/eager.toml" >"$work/plain.toml"
expect 0 "$lorac" train "$work/plain.toml" --generated "$work/plain.generated" --out "$work/plain" "${flags[@]}"
! diff -q <(budgets "$work/plain") <(budgets "$work/eager-1") >/dev/null || fail "the plateau changed no budget"

python3 "$(dirname "$0")/adalora_kill.py" "$lorac" "$work" bucketed:12 eager:8
