# States of 8 bits, through the binary: what is kept, planned and explained of them, what a checkpoint goes on from, and what becomes of
# them where ranks fall.
source "$(dirname "$0")/common.sh"
cd "$source"
ownKernels # they are counted

# shapes FILE: name, type and shape of the tensors in a safetensors file, sorted.
shapes() {
  python3 - "$1" <<'P'
import json, struct, sys
file = open(sys.argv[1], "rb")
header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
header.pop("__metadata__", None)
print(*sorted(f"{name} {tensor['dtype']} {'x'.join(map(str, tensor['shape']))}" for name, tensor in header.items()), sep="\n")
P
}
# fromAFresh PROGRAM OUT STEP FILE...: what the run OUT wrote behind STEP is taken from a copy, which then goes on to the same bytes.
fromAFresh() {
  local program=$1 out=$2 step=$3
  shift 3
  rm -rf "$work/cut"
  cp -r "$out" "$work/cut"
  for folder in "$work"/cut/checkpoint-*; do (("${folder##*-}" <= step)) || rm -r "$folder"; done
  rm -r "$work"/cut/adapter_*
  expect 0 "$program" --out "$work/cut" --resume
  says "checkpoint-$step"
  for file in "$@"; do same "$out/$file" "$work/cut/$file"; done
}

# --- kernels: one for tensors of enough numbers and one for the others, of one body; the size is in neither
eight=(--set optimizer.name=adamw_8bit)
compiled tiny_lora "$work/default" "${eight[@]}"
compiled tiny_lora "$work/some" "${eight[@]}" --set optimizer.min_8bit_size=300
says "kernels: 1 compiled, " # all had been below 4096
compiled tiny_lora "$work/all" "${eight[@]}" --set optimizer.min_8bit_size=1
says "kernels: 0 compiled, "
compiled tiny_lora "$work/lion" --set optimizer.name=lion_8bit --set optimizer.min_8bit_size=300 --set optimizer.learning_rate=1e-3
says "kernels: 2 compiled, "
compiled tiny_lora "$work/float"

# --- runs: of small tensors alone nothing differs from adamw's; else losses are near it
for run in default some all lion float; do expect 0 "$work/$run/train" --out "$work/$run-out" --quiet; done
same "$work/default-out/adapter_model.safetensors" "$work/float-out/adapter_model.safetensors"
same "$work/default-out/checkpoint-20/optimizer.safetensors" "$work/float-out/checkpoint-20/optimizer.safetensors"
for run in some all; do
  paste <(metric loss "$work/$run-out/metrics.jsonl") <(metric loss "$work/float-out/metrics.jsonl") |
    awk '{ worst = ($1 / $2 - 1) ^ 2 > worst ? ($1 / $2 - 1) ^ 2 : worst } END { exit !(NR == 20 && 0 < worst && worst < 1e-6) }' ||
    fail "the losses of '$run' are not near adamw's, or the same"
done
mapfile -t losses < <(metric loss "$work/lion-out/metrics.jsonl")
less "${losses[19]}" "${losses[0]}" || fail "lion's loss did not fall: ${losses[0]} -> ${losses[19]}"

# --- a checkpoint: bytes and absmax of blocks of 256 where there are 300 numbers, else float32
shapes "$work/some-out/checkpoint-20/optimizer.safetensors" >"$work/states"
module=model.layers.0.mlp.up_proj
for line in "exp_avg.$module.lora_B.weight U8 176x4" "exp_avg_absmax.$module.lora_B.weight F32 3" "exp_avg_sq.$module.lora_B.weight U8 176x4" \
  "exp_avg_sq_absmax.$module.lora_B.weight F32 3" "exp_avg.$module.lora_A.weight F32 4x64"; do
  grep -qxF "$line" "$work/states" || { cat "$work/states" >&2; fail "no tensor '$line'"; }
done
! grep -q "absmax.$module.lora_A" "$work/states" || fail "a tensor of float32 has an absmax"
fromAFresh "$work/some/train" "$work/some-out" 10 adapter_model.safetensors checkpoint-20/optimizer.safetensors
fromAFresh "$work/lion/train" "$work/lion-out" 10 adapter_model.safetensors checkpoint-20/optimizer.safetensors
for threads in 1 2; do
  expect 0 "$work/some/train" --out "$work/threads" --overwrite --quiet --threads $threads
  same "$work/some-out/checkpoint-20/optimizer.safetensors" "$work/threads/checkpoint-20/optimizer.safetensors"
done
expect 3 "$work/all/train" --out "$work/some-out" --resume
says "'optimizer.min_8bit_size' was 300 and is 1"

# --- what is planned and explained is what lies in the arena
for size in 1 300 4096; do
  flags=("${eight[@]}" --set optimizer.min_8bit_size=$size)
  expect 0 "$lorac" explain specs/tiny_lora.toml "${flags[@]}" --json
  cp "$work/stdout" "$work/explained.json"
  expect 0 "$lorac" plan specs/tiny_lora.toml "${flags[@]}" --json
  cp "$work/stdout" "$work/planned.json"
  compiled tiny_lora "$work/sized" "${flags[@]}"
  python3 - "$work/explained.json" "$work/planned.json" "$work/sized/plan.json" <<'P' || fail "states of 8 bits are explained, planned and kept as different bytes"
import json, sys
explained, planned, plan = (json.load(open(path)) for path in sys.argv[1:])
kept = sum(region["count"] * (1 if region.get("storage", "").startswith("dynamic8") else 4)
           for region in plan["arena"]["regions"] if region["kind"] == "state")
said = explained["bytes"]["optimizer_states"]
lines = [line["bytes"] for line in planned["lines"] if line["key"] == "optimizer"]
assert 0 < kept == said == lines[0], (kept, said, lines)
assert sum(tensor["bytes"]["total"] for tensor in explained["tensors"]) == explained["bytes"]["total"]
P
done

# --- the spec
expect 3 "$lorac" check specs/tiny_lora.toml --set optimizer.min_8bit_size=300
says "'optimizer.min_8bit_size' says nothing to adamw, whose states are float32: leave it out"
(($(grep -c 'error: ' "$work/stderr") == 1)) || { cat "$work/stderr" >&2; fail "it is not one error"; }
expect 0 "$lorac" check specs/tiny_lora.toml "${eight[@]}" --effective
prints "min_8bit_size = 4096"

# --- AdaLoRA: ranks fall, programs become smaller ones, and a cut run goes on to the same bytes
ada=(--set optimizer.name=adamw_8bit --set optimizer.min_8bit_size=1000)
export LORAC=$lorac # for the smaller programs
compiled tiny_adalora "$work/ada" "${ada[@]}"
expect 0 "$work/ada/train" --out "$work/ada-out" --quiet
(($(metric program_ranks "$work/ada-out/metrics.jsonl" | wc -l) >= 3)) || fail "fewer than three smaller programs took over"
mapfile -t losses < <(metric loss "$work/ada-out/metrics.jsonl")
less "${losses[79]}" "${losses[0]}" || fail "AdaLoRA's loss did not fall: ${losses[0]} -> ${losses[79]}"
shapes "$work/ada-out/checkpoint-80/optimizer.safetensors" >"$work/states"
grep -q '^exp_avg\.[^ ]*lora_A.weight U8 ' "$work/states" || fail "no state of AdaLoRA's lies in 8 bits"
! grep -q '^exp_avg\.[^ ]*lora_E.weight U8 ' "$work/states" || fail "a state of E lies in 8 bits"
fromAFresh "$work/ada/train" "$work/ada-out" 30 adapter_model.safetensors checkpoint-80/optimizer.safetensors
