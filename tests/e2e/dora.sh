#!/usr/bin/env bash
# DoRA from the key to its files: magnitudes begin as norms of rows, adapters compute what PEFT's do, a resumed run ends in the same
# bytes, and what DoRA does not go with is refused.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden
tied=$golden/tiny/tied
numbers() { python3 "$source/tests/e2e/dora.py" "$@" || fail "other numbers: $*"; }

# near A B: equal within 2e-6 of B.
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && d * d <= (2e-6 * b) ^ 2) }' || fail "$1 is not $2"; }
# golden KIND KEY: a number of PEFT's run, the first of a list.
goldenLoss() { tr -d ' \n[' <"$tied/$1_train.json" | sed "s/.*\"$2\":\([0-9.]*\)[],}].*/\1/"; }
evalLoss() { sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"; }
lora=$(goldenLoss lora losses)
dora=$(goldenLoss dora losses)
base=$(goldenLoss dora loss0_base_no_adapter)

# spec NAME RATE STEPS [LINE...]: a spec for the golden model.
spec() {
  {
    printf '[model]\nsource = "%s"\n[adapter]\nr = 4\nlora_alpha = 8\n' "$tied"
    printf '%s\n' "${@:4}"
    printf '[optimizer]\nlearning_rate = %s\n[schedule]\nname = "constant"\n' "$2"
    printf '[[data]]\npath = "%s/tiny/train_data.safetensors"\n' "$golden"
    printf '[train]\noutput_dir = "%s/out-%s"\nsteps = %s\nbatch_size = 2\nmax_length = 24\nsave_steps = 3\n[target]\ndevice = "cpu"\n' "$work" "$1" "$3"
  } >"$work/$1.toml"
}
trains() { (cd "$work" && expect "${2:-0}" "$lorac" train "$1.toml" --generated "$work/$1" "${@:3}"); }
evaluates() { # NAME ADAPTER LOSS
  (cd "$work" && expect 0 "$lorac" eval "$1.toml" --adapter "$2" --samples 2)
  near "$(evalLoss)" "$3"
}

# A fresh run begins at the base, with the norms of W's rows: at this rate its one step moves nothing. Over NF4 W is what the codes say.
spec fresh 1e-12 1 'use_dora = true'
trains fresh
near "$(metric loss "$work/out-fresh/metrics.jsonl" | head -1)" "$base"
numbers norms "$work/out-fresh/adapter_model.safetensors" "$tied/model.safetensors"
grep -q '"use_dora": true' "$work/out-fresh/adapter_config.json" || fail "adapter_config.json does not say use_dora"
grep -q '^# DoRA adapter$' "$work/out-fresh/README.md" || fail "the model card does not say DoRA"
grep -q '^use_dora = true ' "$work/out-fresh/spec.toml" || fail "the effective spec does not say use_dora"
spec nf4 1e-12 1 'use_dora = true' '[quantization]' 'format = "nf4"'
trains nf4
numbers norms "$work/out-nf4/adapter_model.safetensors" "$golden/qlora/tied/dequantized.safetensors"

# An adapter of PEFT's: its own loss, by this program and by one of a spec without magnitudes, which gets its own.
expect 0 "$work/fresh/train" --eval --samples 2
near "$(evalLoss)" "$base"
expect 0 "$work/fresh/train" --eval --adapter "$tied/dora_init" --samples 2
near "$(evalLoss)" "$dora"
spec plain 1e-3 2
spec large 1e-3 1 'use_dora = true'
sed -i 's/^r = 4$/r = 7/; s/^lora_alpha = 8$/lora_alpha = 3/' "$work/large.toml"
evaluates large "$tied/dora_init" "$dora"
evaluates plain "$tied/dora_init" "$dora"
evaluates fresh "$tied/lora_init" "$lora"
trains plain
expect 5 "$work/plain/train" --eval --adapter "$tied/dora_init" --samples 2
says "is DoRA's: it has 'model.layers.0.mlp.down_proj.lora_magnitude_vector'; set use_dora = true in [adapter]"
expect 5 "$work/fresh/train" --eval --adapter "$tied/lora_init" --samples 2
says "it has no 'model.layers.0.mlp.down_proj.lora_magnitude_vector'; set use_dora = false in [adapter]"

expect 5 "$lorac" check specs/tiny_adalora.toml --set "adapter.init_from=\"$tied/dora_init\""
says "set method = \"lora\", which has them, and use_dora = true in [adapter]"

# Training goes on from one: at another rank and scale, and where modules are new. A plain one is refused at its line.
sed -i "s|^use_dora = true|&\ninit_from = \"$tied/dora_init\"|" "$work/large.toml"
trains large
says "has a smaller rank in 14 of 14 modules"
near "$(metric loss "$work/out-large/metrics.jsonl" | head -1)" "$dora"
spec few 1e-3 2 'use_dora = true' 'target_modules = ["q_proj"]'
spec more 1e-12 1 'use_dora = true' "init_from = \"$work/out-few\""
trains few
trains more
says "lacks 12 of 14 modules"
evaluates fresh "$work/out-few" "$(metric loss "$work/out-more/metrics.jsonl" | head -1)"
for kind in dora lora; do
  spec wrong 1e-3 1 "init_from = \"$tied/${kind}_init\"" "use_dora = $([[ $kind == lora ]] && echo true || echo false)"
  for command in check train; do
    (cd "$work" && expect 5 "$lorac" $command wrong.toml)
    says "wrong.toml:6:13: error: the adapter '"
    says "lora_magnitude_vector'; set use_dora = "
  done
done

# A row of zeros has no length to divide by: it begins as it is, and where an adapter lacks its module it stays so. Its magnitude is 0 and
# grows when its lora_B has moved.
numbers zero_row "$tied" "$work/zeroed" model.layers.1.self_attn.o_proj.weight 17
spec hollow 1e-3 3 'use_dora = true'
spec narrow 1e-3 1 'use_dora = true' 'target_modules = ["q_proj"]'
sed -i "s|^source = .*|source = \"$work/zeroed\"|" "$work"/{hollow,narrow}.toml
trains hollow
[[ $(metric loss "$work/out-hollow/metrics.jsonl" | wc -l) == 3 ]] || fail "a zero row: $(cat "$work/out-hollow/metrics.jsonl")"
(cd "$work" && expect 0 "$lorac" eval narrow.toml --adapter out-few --samples 2)
evaluates hollow "$work/out-few" "$(evalLoss)"

# A run that was stopped goes on to the bytes of one that was not, magnitudes and their states too.
spec whole 5e-3 6 'use_dora = true' 'lora_dropout = 0.1'
trains whole
expect 0 "$work/whole/train" --out "$work/cut" --steps 3
! cmp -s "$work/cut/adapter_model.safetensors" "$work/out-whole/adapter_model.safetensors" || fail "three steps are six"
expect 0 "$work/whole/train" --out "$work/cut" --resume
for file in adapter_model.safetensors checkpoint-6/optimizer.safetensors; do
  same "$work/cut/$file" "$work/out-whole/$file"
done
grep -q 'exp_avg.model.layers.0.self_attn.q_proj.lora_magnitude_vector' "$work/cut/checkpoint-6/optimizer.safetensors" || fail "no states of magnitudes"
spec other 5e-3 6 'lora_dropout = 0.1'
trains other 5 --out "$work/cut" --resume
says "is of another model or adapter: it has 42 tensors, the program 28"

# PEFT's files come back as they are, and W' formed of them is what PEFT merges. No other format has a place for magnitudes.
expect 0 "$lorac" export "$tied/dora_init" --format peft -o "$work/peft"
same "$work/peft/adapter_model.safetensors" "$tied/dora_init/adapter_model.safetensors"
numbers merged "$work/peft/adapter_model.safetensors" 2 "$tied/model.safetensors" "$golden/merge/dora_tied.safetensors"
expect 3 "$lorac" export "$tied/dora_init" --format gguf --model "$tied" -o "$work/a.gguf"
says "llama.cpp has no place for its lora_magnitude_vector"
expect 3 "$lorac" export "$tied/dora_init" --format peft-adalora -o "$work/ada"
says "AdaLoRA has no place for its magnitudes"
[[ ! -e $work/a.gguf && ! -e $work/ada ]] || fail "something of a refused export was written"

# What explain counts is what the plan has; the rate of magnitudes is that of B.
(cd "$work" && expect 0 "$lorac" explain fresh.toml --set adapter.loraplus.loraplus_lr_ratio=8)
prints "lora_magnitude_vector    8e-12 (8 x)"
prints "DoRA, rates as in LoRA+"
(cd "$work" && expect 0 "$lorac" explain fresh.toml --json)
python3 - "$work/stdout" "$work/fresh/plan.json" <<'P' || fail "explain and the plan differ"
import json, sys
explained, plan = (json.load(open(path)) for path in sys.argv[1:])
count = {region["name"]: region["count"] for region in plan["arena"]["regions"]}
assert explained["use_dora"] and explained["bytes"]["parameters"] == 4 * count["params"], explained["bytes"]
assert explained["bytes"]["optimizer_states"] == 4 * (count["exp_avg"] + count["exp_avg_sq"]), explained["bytes"]
assert len(plan["params"]) == len(explained["tensors"]) == 42
P

expect 3 "$lorac" check specs/tiny_adalora.toml --set adapter.use_dora=true
says "'use_dora' is for method = \"lora\": AdaLoRA has no magnitudes"
