#!/usr/bin/env bash
# What is not finite is refused with tensor, position and sample: adapters read and written, losses, logits.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden

# An adapter of the golden model with one value changed, or all of them multiplied.
python3 - "$golden/tiny/tied/lora_init" "$work" <<'PY'
import json, pathlib, shutil, struct, sys
source, work = map(pathlib.Path, sys.argv[1:])
raw = (source / "adapter_model.safetensors").read_bytes()
size = struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:8 + size])
name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"
begin, end = (8 + size + at for at in header[name]["data_offsets"])
def save(folder, data):
    (work / folder).mkdir()
    shutil.copy(source / "adapter_config.json", work / folder)
    (work / folder / "adapter_model.safetensors").write_bytes(data)
for folder, value in ("nan", float("nan")), ("inf", float("-inf")):
    save(folder, raw[:begin + 20] + struct.pack("<f", value) + raw[begin + 24:])
values = struct.unpack(f"<{(end - begin) // 4}f", raw[begin:end])
save("huge", raw[:begin] + struct.pack(f"<{len(values)}f", *(3e38 if v > 0 else -3e38 for v in values)) + raw[end:])
config = json.loads((source / "adapter_config.json").read_text())
config["use_rslora"] = True
config["lora_alpha"] = 1e30
(work / "huge" / "adapter_config.json").write_text(json.dumps(config))
PY
cat >"$work/s.toml" <<TOML
[model]
source = "$golden/tiny/tied"
[adapter]
r = 4
lora_alpha = 8
[[data]]
path = "$golden/tiny/train_data.safetensors"
[train]
output_dir = "$work/out"
steps = 1
batch_size = 2
max_length = 24
[target]
device = "cpu"
TOML
expect 0 "$lorac" compile "$work/s.toml" -o "$work/s"

for kind in nan inf; do
  value=$([[ $kind == inf ]] && echo -inf || echo nan)
  expect 5 "$work/s/train" --eval --adapter "$work/$kind"
  says "v_proj.lora_B.weight' is $value at [1, 1]"
  expect 5 "$lorac" eval "$work/s.toml" --adapter "$work/$kind" --generated "$work/none"
  expect 5 "$lorac" check "$work/s.toml" --set "adapter.init_from=\"$work/$kind\""
  for format in peft gguf peft-adalora; do
    expect 5 "$lorac" export "$work/$kind" --format "$format" --model "$golden/tiny/tied" -o "$work/exported"
    says "is $value at [1, 1]"
    [[ ! -e $work/exported ]] || fail "an adapter that is not finite was written"
  done
done

# Finite values whose product is none: no loss is told, no logits and no factors are written.
expect 1 "$work/s/train" --eval --adapter "$work/huge" --json
says "sample 0: the loss at token "
[[ ! -s $work/stdout ]] || fail "losses were printed"
expect 1 "$work/s/train" --eval --adapter "$work/huge" --logits "$work/logits.safetensors"
says "logits.safetensors' is not written: 'logits.0["
[[ ! -e $work/logits.safetensors ]] || fail "logits that are not finite were written"

# An update that overflows is seen by no loss if none follows. Before a save and at the end parameters and moments are looked at: what
# is not finite is neither saved nor published, the checkpoint before stays, is named, and is gone on from.
# overflows NAME STEP TENSOR: the program NAME ends after STEP, whose update makes a tensor of that name overflow.
overflows() {
  local standing=$work/$1.out/checkpoint-$(($2 - 1)) before
  expect 1 "$work/$1/train" --out "$work/$1.out"
  grep -qE "^error: step $2: after the update: '$3[^']*' is (-?inf|-?nan) at .*; nothing of it is saved; '$standing' stands; lower" "$work/stderr" ||
    { cat "$work/stderr" >&2; fail "$1: it is not said what overflowed"; }
  [[ $(cd "$work/$1.out" && echo checkpoint-* adapter_*) == "checkpoint-$(($2 - 1)) adapter_*" ]] || fail "$1: $(ls "$work/$1.out")"
  before=$(sha1sum "$standing"/*)
  expect 1 "$work/$1/train" --out "$work/$1.out" --resume
  says "goes on from '$standing'"
  says "'$standing' stands"
  [[ $(sha1sum "$standing"/*) == "$before" ]] || fail "$1: the checkpoint that stands was changed"
}
# overflowing NAME SED-SCRIPT RATE DECAY WARMUP
overflowing() {
  {
    sed "$2" "$work/s.toml" | sed "s/^steps = 1/steps = 4\nsave_steps = 1/"
    printf '[optimizer]\nlearning_rate = %s\nweight_decay = %s\nmax_grad_norm = 0.0\n[schedule]\nname = "constant"\nwarmup_steps = %s\n' "$3" "$4" "$5"
  } >"$work/$1.toml"
  expect 0 "$lorac" compile "$work/$1.toml" -o "$work/$1"
}
# Parameters: the rate is 0 in step 1 and far too large in step 2.
overflowing decay '' 1e38 1e3 2
overflows decay 2 model.
# So is the last step's, which no other follows.
expect 1 "$work/decay/train" --out "$work/last.out" --steps 2
says "step 2: after the update: "
[[ ! -e $work/last.out/adapter_model.safetensors ]] || fail "an adapter that is not finite was published"
# Moments: gradients of 1e22, whose squares overflow; step 1 has no label.
python3 - "$golden/tiny/train_data.safetensors" "$work/late.safetensors" <<'PY'
import json, struct, sys
raw = bytearray(open(sys.argv[1], "rb").read())
head = 8 + struct.unpack("<Q", raw[:8])[0]
labels = json.loads(raw[8:head])["labels"]
begin, (batches, rows, length) = labels["data_offsets"][0], labels["shape"]
size = (labels["data_offsets"][1] - begin) // (batches * rows * length)
none = (-100).to_bytes(size, "little", signed=True)
raw[head + begin:head + begin + size * rows * length] = none * (rows * length)
open(sys.argv[2], "wb").write(raw)
PY
overflowing moments "s|^lora_alpha = .*|lora_alpha = 1e26|; s|^path = .*|path = \"$work/late.safetensors\"|" 1e-3 0.0 0
overflows moments 2 exp_avg_sq.
