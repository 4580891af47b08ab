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
