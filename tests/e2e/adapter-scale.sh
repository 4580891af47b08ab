#!/usr/bin/env bash
# An adapter brings its rank, alpha, pattern and scale: whatever the spec's are, eval gives the loss that PEFT gave.
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
# serves NAME ADAPTER LOSS: the compiled program of a spec gives that loss.
serves() {
  expect 0 "$work/$1/train" --eval --adapter "$2" --samples 2
  near "$(evalLoss)" "$3"
}
# evaluates NAME ADAPTER LOSS: `lorac eval` does, with a program for the adapter where the spec's cannot hold it.
evaluates() {
  (cd "$work" && expect 0 "$lorac" eval "$1.toml" --adapter "$2" --samples 2)
  near "$(evalLoss)" "$3"
}
compileIn() { (cd "$work" && expect 0 "$lorac" compile "$1.toml" -o "$work/$1"); }

lora=$(goldenLoss lora)
rslora=$(goldenLoss rslora)
spec same 'r = 4' 'lora_alpha = 8'
spec small 'r = 2' 'lora_alpha = 8'
spec large 'r = 9' 'lora_alpha = 64'
spec few 'r = 4' 'lora_alpha = 8' 'target_modules = ["q_proj"]'
spec rs 'r = 6' 'lora_alpha = 7' 'use_rslora = true'
spec ada 'method = "adalora"' 'lora_alpha = 20' '[adapter.adalora]' 'init_r = 8' 'target_r = 2' 'prune = "mask"'
sed -i 's/^steps = 1$/steps = 12/' "$work/ada.toml"

# Whatever the spec says of ranks, modules and scales; the folder and the file in it are one adapter.
for name in same large rs ada; do
  compileIn $name
  serves $name "$golden/tiny/tied/lora_init" "$lora"
  serves $name "$golden/tiny/tied/rslora_init" "$rslora"
  serves $name "$golden/tiny/tied/lora_init/adapter_model.safetensors" "$lora"
done
evaluates small "$golden/tiny/tied/rslora_init" "$rslora"
evaluates few "$golden/tiny/tied/lora_init/adapter_model.safetensors" "$lora"
# The spec's own program is not replaced by one for another adapter.
[[ -d $work/generated/small-adapter ]] || fail "no program of its own for an adapter of another rank"
(cd "$work" && expect 0 "$lorac" inspect generated/small-adapter)

# A file alone: the spec's alpha, over the adapter's own rank, and it is said.
mkdir "$work/alone"
cp "$golden/tiny/tied/lora_init/adapter_model.safetensors" "$work/alone/some.safetensors"
serves same "$work/alone/some.safetensors" "$lora"
says "has no adapter_config.json beside it: the spec's lora_alpha is taken, a scale of 2"
expect 0 "$lorac" export "$work/alone/some.safetensors" --format peft -o "$work/exported"
says "has no adapter_config.json beside it: lora_alpha is taken to be the rank, a scale of 1"
# Beside its adapter_config.json it is no guess, whatever its name.
cp "$golden/tiny/tied/lora_init/adapter_config.json" "$work/alone/"
serves large "$work/alone/some.safetensors" "$lora"
! grep -q "adapter_config.json beside" "$work/stderr" || fail "a scale that was told is called a guess"

# One with a rank_pattern and an alpha_pattern.
python3 - "$golden/tiny/tied/lora_init" "$work/pattern" <<'PY'
import json, pathlib, struct, sys
source, out = map(pathlib.Path, sys.argv[1:])
out.mkdir()
raw = (source / "adapter_model.safetensors").read_bytes()
size = struct.unpack("<Q", raw[:8])[0]
header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
header.pop("__metadata__", None)
tensors, config = {}, json.loads((source / "adapter_config.json").read_text())
name = "model.layers.1.mlp.down_proj"
for key, entry in header.items():
    begin, end = entry["data_offsets"]
    values, shape = data[begin:end], entry["shape"]
    if key == f"base_model.model.{name}.lora_A.weight":  # a fifth row, which B's fifth column of zeros leaves without effect
        values, shape = values + values[:4 * shape[1]], [shape[0] + 1, shape[1]]
    elif key == f"base_model.model.{name}.lora_B.weight":
        row = 4 * shape[1]
        values = b"".join(values[i * row:(i + 1) * row] + b"\0\0\0\0" for i in range(shape[0]))
        shape = [shape[0], shape[1] + 1]
    tensors[key] = (shape, values)
config["rank_pattern"], config["alpha_pattern"] = {name: 5}, {name: 10}  # the scale stays 2
header, offset = {}, 0
for key, (shape, values) in tensors.items():
    header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(values)]}
    offset += len(values)
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(out / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(v for _, v in tensors.values()))
(out / "adapter_config.json").write_text(json.dumps(config))
PY
evaluates same "$work/pattern" "$lora"
serves large "$work/pattern" "$lora"

# AdaLoRA's adapter: in a program of triplets, in one of plain LoRA that holds it, and in one that does not.
ada=$golden/adalora/tied/adapter_final
expect 0 "$work/large/train" --eval --adapter "$ada" --samples 2
ofAda=$(evalLoss)
evaluates few "$ada" "$ofAda"
serves ada "$ada" "$ofAda"

# generate takes it as well; a base of other shapes is refused by name.
mkdir "$work/chat"
cp "$golden/tiny/tied/config.json" "$golden/tiny/tied/model.safetensors" "$work/chat/"
cp "$golden/tokenizer/bytelevel.tokenizer.json" "$work/chat/tokenizer.json"
(cd "$work" && expect 0 "$lorac" generate small.toml --set "model.source=\"$work/chat\"" --adapter "$golden/tiny/tied/lora_init" --prompt "the kernel" --max-new-tokens 4)
expect 5 "$lorac" eval specs/tiny_lora.toml --set 'model.shape={ layers = 2, hidden_size = 32, intermediate_size = 88, n_heads = 2, n_kv_heads = 2, head_dim = 16, vocab_size = 512, rms_norm_eps = 1e-5, max_position_embeddings = 256 }' \
  --generated "$work/none" --adapter "$golden/tiny/tied/lora_init"
says "is of another model or spec: module 'model.layers."
[[ ! -e $work/none ]] || fail "a program for no adapter was written"

# What a spec of few modules trains.
(cd "$work" && expect 0 "$lorac" train few.toml --out few.adapter)
# The binary alone: smaller ranks and fewer modules serve, larger ones are refused with what to do.
compileIn small
expect 5 "$work/small/train" --eval --adapter "$golden/tiny/tied/lora_init" --samples 2
says "has rank 4, more than the 2 here"
says "lorac eval and lorac generate with --adapter compile one for the adapter"
expect 0 "$work/same/train" --eval --adapter "$work/few.adapter" --samples 2
says "adapts 2 of the 14 modules here: the base alone in the rest"
