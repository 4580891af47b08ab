#!/usr/bin/env bash
# `lorac check` opens what train opens: positions, tokenizer, data, init_from, output folder. What it calls right, train takes.
source "$(dirname "$0")/common.sh"
cd "$work"
golden=$source/tests/golden
mkdir model
cp "$golden/tiny/tied/config.json" "$golden/tiny/tied/model.safetensors" model/
cp "$golden/tokenizer/bytelevel.tokenizer.json" model/tokenizer.json
printf '{"eos_token": "<|end|>"}' >model/tokenizer_config.json
printf 'the kernel\n%%\nthe buffers are\n%%\nhello\n%%\nworld\n%%\n' >a.txt
cat >s.toml <<'TOML'
[model]
source = "model"
[adapter]
r = 2
target_modules = ["q_proj"]
[[data]]
path = "a.txt"
eval_fraction = 0.25
[train]
output_dir = "out"
steps = 1
batch_size = 2
max_length = 16
[target]
device = "cpu"
TOML

expect 0 "$lorac" check s.toml
prints "s.toml is right: llama of 2 layers, 2 adapted modules, 512 trainable parameters, rank 2"
prints "data 'data': 4 samples, "
prints ", 1 sample held out, 1 empty left out"
prints 'first sample: "the kernel": 7 tokens, with eos, 6 of them predicted'
[[ ! -e out ]] || fail "check made the output folder"
expect 0 "$lorac" check s.toml --json
python3 - stdout <<'PY'
import json, sys
result = json.load(open(sys.argv[1]))
assert result["right"] and result["diagnostics"] == [], result
assert result["model"] == {"architecture": "llama", "layers": 2}, result
data = result["data"][0]
assert (data["samples"], data["held_out"], data["empty"], data["format"]) == (4, 1, 1, "text"), data
assert data["first"] == {"start": '"the kernel"', "tokens": 7, "labels": 6, "bos": False, "eos": True}, data
assert result["output"] == {"folder": "out", "holds_run": False}, result
PY
expect 0 "$lorac" train s.toml
expect 0 "$lorac" check s.toml
says "s.toml:10:14: warning: output folder 'out' holds a run; --resume goes on with it"
expect 2 "$lorac" train s.toml

# refused CODE TEXT COMMAND-ARGUMENT...: by check and by train alike.
refused() {
  local code=$1 text=$2
  shift 2
  for command in check train; do
    expect "$code" "$lorac" $command s.toml "$@"
    says "$text"
  done
}
refused 3 "--set train.max_length=257: error: 'train.max_length' is 257, but the model has 256 positions" --set train.max_length=257 --set 'train.output_dir="other"'
sed 's/max_length = 16/max_length = 300/' s.toml >long.toml
for command in check compile plan train explain; do
  expect 3 "$lorac" $command long.toml
  says "long.toml:13:14: error: 'train.max_length' is 300, but the model has 256 positions"
done
mkdir spm
cp model/config.json model/model.safetensors spm/
echo spm >spm/tokenizer.model
refused 1 "its 'tokenizer.model' is not read" --set 'model.source="'"$work"'/spm"' --set 'train.output_dir="other"'
expect 1 "$lorac" check s.toml --set 'model.source="'"$work"'/spm"'
says "error: folder '"
printf 'ab\xff' >bad.txt
refused 3 "is not UTF-8 at line 1, column 3" --set 'data.path="'"$work"'/bad.txt"' --set 'train.output_dir="other"'
refused 3 "cannot read '" --set 'adapter.init_from="'"$work"'/none"' --set 'train.output_dir="other"'
mkdir adapter
cp "$source/tests/golden/tiny/tied/lora_init/adapter_model.safetensors" adapter/
refused 5 "holds no adapter: it has no adapter_config.json" --set 'adapter.init_from="'"$work"'/adapter"' --set 'train.output_dir="other"'
echo '{}' >adapter/adapter_config.json
refused 5 "adapter_config.json" --set 'adapter.init_from="'"$work"'/adapter"' --set 'train.output_dir="other"'
refused 1 "cannot make the output folder" --set 'train.output_dir="a.txt/out"'
expect 3 "$lorac" check s.toml --json --set 'data.path="'"$work"'/bad.txt"'
prints '"right": false'
prints 'is not UTF-8'

# Nothing but the model needs a source: drawn weights have no tokenizer, so text is refused.
sed '/^source/d; s/^\[model\]/[model]\narchitecture = "llama"\nshape = { layers = 1, hidden_size = 64, intermediate_size = 64, n_heads = 4, n_kv_heads = 4, head_dim = 16, vocab_size = 64, rms_norm_eps = 1e-5, max_position_embeddings = 64 }/' s.toml >drawn.toml
for command in check train; do
  expect 3 "$lorac" $command drawn.toml --set 'train.output_dir="other"'
  says "the model has drawn weights and no tokenizer"
done

# Every spec that is shipped and can be read is right.
for name in tiny_lora tiny_qlora tiny_loraplus tiny_rslora tiny_adalora; do
  (cd "$source" && expect 0 "$lorac" check "specs/$name.toml")
  prints "is right"
done
