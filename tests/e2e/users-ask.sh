# users-ask.sh BUILD SOURCE ROW: what users of today's AdaLoRA complain of, row by row of a collection of their threads (C1);
# each function begins with the thread. ctest names have row and complaint.
source "$(dirname "$0")/common.sh"
row=$3
cd "$source"
spec=specs/tiny_adalora.toml

# trained NAME SPEC [FLAG...]: trains into $work/NAME.
trained() {
  local name=$1 spec=$2
  shift 2
  expect 0 "$lorac" train "$spec" --generated "$work/$name.generated" --out "$work/$name" "$@"
}

# ranks DIR: the ranks that the adapter's tensors have, one a line.
ranks() {
  python3 - "$1/adapter_model.safetensors" <<'P'
import json, struct, sys
with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
for name, tensor in header.items():
    if ".lora_A" in name:
        print(tensor["shape"][0])
P
}
total() { awk '{ sum += $1 } END { print sum + 0 }'; }

# huggingface/peft#1801: the rank stays at init_r for the whole run.
c1_1() {
  trained run "$spec"
  for said in "step 11: budget 252, 252 of 336" "step 21: budget 138, 138 of 336" "step 31: budget 80, 80 of 336" \
    "step 41: budget 59, 59 of 336" "step 51: budget 56, 56 of 336"; do
    says "$said triplets live"
  done
  [[ $(ranks "$work/run" | total) == 56 ]] || fail "the tensors have $(ranks "$work/run" | total) ranks in all, expected 56"
  python3 - "$work/run/metrics.jsonl" <<'P' || fail "the trace of the ranks"
import json, sys
traced = [line["rank_pattern"] for line in map(json.loads, open(sys.argv[1])) if "rank_pattern" in line]
sums = [sum(pattern.values()) for pattern in traced]
assert sums[0] == 336 and sums[-1] == 56 and sums == sorted(sums, reverse=True), sums
P
}

# huggingface/peft#3373, sentence-transformers#3842: without a call of update_and_allocate it is plain LoRA, and nothing says so.
c1_2() {
  # The least that one can write: nothing of the schedule.
  sed -e '/^\[adapter.adalora\]/,/^rebuild/d' -e 's/^steps = .*/steps = 12/' -e "s|path = \"data|path = \"$source/specs/data|" \
    "$spec" >"$work/least.toml"
  trained run "$work/least.toml"
  says "step 2: budget 155, 155 of 168 triplets live"
  [[ $(ranks "$work/run" | total) == 112 ]] || fail "$(ranks "$work/run" | total) ranks in all, expected 14 x 8"
  # Nor by the binary alone, where no lorac is that could build smaller programs: it refuses, or trains with ranks that fall.
  mkdir "$work/alone"
  cp "$work/run.generated/train" "$work/alone/"
  expect 3 env -i PATH= "$work/alone/train" --out "$work/alone/refused"
  says "--allow-fixed-ranks"
  expect 0 env -i PATH= "$work/alone/train" --out "$work/alone/out" --allow-fixed-ranks
  [[ $(ranks "$work/alone/out" | total) == 112 ]] || fail "$(ranks "$work/alone/out" | total) ranks in all, expected 112"
  # And a length that leaves no room for it is refused when it is given.
  compiled tiny_adalora "$work/compiled"
  expect 2 "$work/compiled/train" --lorac "$lorac" --steps 35 --out "$work/none"
  says "5 + 30 = 35 against 35"
}

# huggingface/peft#1327: rank_pattern is None.
c1_3() {
  trained run "$spec"
  expect 0 "$lorac" export "$work/run" --format peft-adalora
  python3 - "$work" <<'P' || fail "rank_pattern"
import json, sys
work = sys.argv[1]
def config(folder): return json.load(open(f"{work}/{folder}/adapter_config.json"))
for folder in ("run", "run/checkpoint-20", "run/checkpoint-80"):
    plain = config(folder)
    assert plain["peft_type"] == "LORA" and plain["rank_pattern"], (folder, plain)
triplets = config("run-peft-adalora")
assert triplets["peft_type"] == "ADALORA" and triplets["init_r"] == 24, triplets
pattern = triplets["rank_pattern"]
assert all(name.endswith(".lora_E") and len(alive) == 24 for name, alive in pattern.items()), pattern
assert sum(map(sum, pattern.values())) == 56, pattern
P
}

# huggingface/peft#432: the orthogonality term is silently left out.
c1_4() {
  trained half "$spec" --set adapter.adalora.orth_reg_weight=0.5
  trained none "$spec" --set adapter.adalora.orth_reg_weight=0
  grep -q '@regularize' "$work/half.generated/30-backward.mlir" || fail "no @regularize in the dump"
  (($(grep -c 'lora.orthogonal_term' "$work/half.generated/30-backward.mlir") == 28)) || fail "not a term for each A and B"
  ! grep 'lora.orthogonal_term' "$work/none.generated/30-backward.mlir" | grep -qv 'scale 0.0' || fail "a weight of 0 is not 0 in the dump"
  python3 - "$work" <<'P' || fail "the term in the loss"
import json, sys
half, none = ([json.loads(line) for line in open(f"{sys.argv[1]}/{run}/metrics.jsonl")] for run in ("half", "none"))
half, none = ([line for line in run if "loss" in line] for run in (half, none))
assert all("orthogonality" in line for line in half) and len(half) == 80
# The first step begins from the same numbers: what differs is the term. Later the term falls, and it changes what is learnt.
added = half[0]["loss"] - none[0]["loss"]
assert abs(added - 0.5 * half[0]["orthogonality"]) < 1e-5, (added, half[0])
assert half[-1]["orthogonality"] < half[0]["orthogonality"], (half[0], half[-1])
assert half[-1]["loss"] - 0.5 * half[-1]["orthogonality"] != none[-1]["loss"]
P
}

# huggingface/peft#2337: kthvalue(): selected number k out of range, in the middle of a run.
c1_5() {
  # k = initial ranks - budget = 0 masks nothing, and is said before the first step.
  trained run "$spec" --set adapter.adalora.init_r=4 --set train.steps=45
  says "nothing is pruned: the target is the 56 triplets in 14 modules of the start"
  says "step 16: budget 56, 56 of 56 triplets live"
  [[ $(ranks "$work/run" | total) == 56 ]] || fail "$(ranks "$work/run" | total) ranks in all, expected 56"
  # The thread's schedule, whose final phase begins before the first is over.
  expect 3 "$lorac" check "$spec" --set adapter.adalora.tinit=6000 --set adapter.adalora.tfinal=11000 --set train.steps=13500
  says "6000 + 11000 = 17000 against 13500"
}

# QingruZhang/AdaLoRA#20: the paper's own numbers trip an assertion that does not show them.
c1_6() {
  expect 3 "$lorac" check "$spec" --set adapter.adalora.tinit=5000 --set adapter.adalora.tfinal=25000 --set train.steps=27600
  says "tinit + tfinal < train.steps does not hold, 5000 + 25000 = 30000 against 27600"
  says "--set adapter.adalora.tfinal=25000"
}

# huggingface/peft#1539: an adapter with a module of rank 0 cannot be loaded.
c1_7() {
  # The golden model with a tokenizer of fewer tokens: it can be asked for text.
  mkdir "$work/model"
  cp tests/golden/tiny/untied/{config.json,model.safetensors} "$work/model/"
  cp tests/golden/tokenizer/bytelevel.tokenizer.json "$work/model/tokenizer.json"
  local changes=(--set "model.source=\"$work/model\"" --set "model.shape={}")
  trained run "$spec" "${changes[@]}"
  local modules
  modules=$(ranks "$work/run" | wc -l)
  ((modules > 0 && modules < 14)) || fail "$modules of 14 modules are left; some should have rank 0"
  for format in peft peft-adalora gguf; do
    expect 0 "$lorac" export "$work/run" --format "$format"
    prints ": $modules modules"
  done
  expect 0 "$lorac" export "$work/run-peft-adalora" --format gguf --model "$work/model" -o "$work/again.gguf"
  same "$work/again.gguf" "$work/run.gguf"
  # Each of them is the same adapter, to the trained program and to a program of plain LoRA at these ranks.
  local folder
  for folder in run run-peft run-peft-adalora; do
    expect 0 "$work/run.generated/train" --eval --adapter "$work/$folder" --samples 4 --json
    mv "$work/stdout" "$work/$folder.eval"
    expect 0 "$work/run.generated/train" --generate --adapter "$work/$folder" --prompt "the cat" --max-new-tokens 12 --json
    mv "$work/stdout" "$work/$folder.text"
    same "$work/$folder.eval" "$work/run.eval"
    same "$work/$folder.text" "$work/run.text"
  done
  expect 0 "$work/run.generated/train" --eval --samples 4 --json
  ! cmp -s "$work/stdout" "$work/run.eval" || fail "the adapter changes nothing"
}

"c1_$row"
