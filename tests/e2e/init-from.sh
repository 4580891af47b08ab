#!/usr/bin/env bash
# init_from goes on with the adapter's function, whatever the spec's rank and scale are: the loss before the first update is PEFT's.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden

# near A B: equal within 2e-6 of B.
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && d * d <= (2e-6 * b) ^ 2) }' || fail "$1 is not $2"; }
# golden KIND: PEFT's loss of the first batch with the initial adapter.
goldenLoss() { tr -d ' \n' <"$golden/tiny/tied/$1_train.json" | sed 's/.*"losses":\[\([0-9.]*\),.*/\1/'; }
# evalLoss: the loss that the last command printed.
evalLoss() { sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"; }

# spec NAME [ADAPTER-LINE...]: a spec for the golden model.
spec() {
  local name=$1
  shift
  {
    printf '[model]\nsource = "%s/tiny/tied"\n[adapter]\n' "$golden"
    printf '%s\n' "$@"
    printf '[optimizer]\nlearning_rate = 1e-3\n[schedule]\nname = "constant"\n'
    printf '[[data]]\npath = "%s/tiny/train_data.safetensors"\n' "$golden" # the format follows the name
    printf '[train]\noutput_dir = "%s/out-%s"\nsteps = 1\nbatch_size = 2\nmax_length = 24\nsave_steps = 0\n[target]\ndevice = "cpu"\n' "$work" "$name"
  } >"$work/$name.toml"
}
evaluates() {
  (cd "$work" && expect 0 "$lorac" eval "$1.toml" --adapter "$2" --samples 2)
}
lora=$(goldenLoss lora)
spec same 'r = 4' 'lora_alpha = 8'

# init_from goes on with the adapter's function: the loss before the first update is PEFT's.
for kind in lora rslora; do
  from="init_from = \"$golden/tiny/tied/${kind}_init\""
  loss=$(goldenLoss $kind)
  spec "go-$kind" 'r = 7' 'lora_alpha = 3' "$from"
  (cd "$work" && expect 0 "$lorac" train "go-$kind.toml")
  says "it stays what it is, folded into its factors"
  says "has a smaller rank in 14 of 14 modules"
  near "$(metric loss "$work/out-go-$kind/metrics.jsonl" | head -1)" "$loss"
done
# What it trained on from there is an adapter like any other.
evaluates same "$work/out-go-lora"
less "$(evalLoss)" "$lora" || fail "a step from the adapter made it worse"
spec go-few 'r = 4' 'lora_alpha = 8' "init_from = \"$work/out-go-few0\""
spec go-few0 'r = 4' 'lora_alpha = 8' 'target_modules = ["q_proj", "v_proj"]'
(cd "$work" && expect 0 "$lorac" train go-few0.toml && expect 0 "$lorac" train go-few.toml)
says "lacks 10 of 14 modules: they begin new, and add nothing at first"
# A larger rank is refused, by check too, at its line.
spec go-small 'r = 2' "init_from = \"$golden/tiny/tied/lora_init\""
for command in check train; do
  (cd "$work" && expect 5 "$lorac" $command go-small.toml)
  says "go-small.toml:5:13: error: the adapter '"
  says "has rank 4, more than the 2 here"
  says "set the rank in [adapter] to 4"
done
# AdaLoRA from a plain adapter, and from triplets.
spec go-ada 'method = "adalora"' 'lora_alpha = 20' "init_from = \"$golden/tiny/tied/lora_init\"" '[adapter.adalora]' 'init_r = 6' 'target_r = 2' 'prune = "mask"' 'orth_reg_weight = 0.0'
sed -i 's/^steps = 1$/steps = 12/' "$work/go-ada.toml"
(cd "$work" && expect 0 "$lorac" train go-ada.toml)
near "$(metric loss "$work/out-go-ada/metrics.jsonl" | head -1)" "$lora"
