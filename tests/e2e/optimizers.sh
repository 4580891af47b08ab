# Another optimizer, through the binary: what it keeps, what is planned and said of it, what a checkpoint of it goes on from; and that
# its numbers are in no kernel.
source "$(dirname "$0")/common.sh"
cd "$source"
ownKernels # they are counted

# of FIELD FILE: a field of a JSON file, as in bytes.optimizer_states.
of() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda at, key: at[key], sys.argv[1].split("."), json.load(open(sys.argv[2]))))' "$@"; }
# tensors FILE: names in a safetensors file, sorted.
tensors() {
  python3 - "$1" <<'P'
import json, struct, sys
file = open(sys.argv[1], "rb")
header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
print(*sorted(set(header) - {"__metadata__"}), sep="\n")
P
}

# --- kernels: of another optimizer only its update is new, of other numbers nothing is
lion=(--set optimizer.name=lion)
compiled tiny_lora "$work/adamw"
says ", 0 from the cache"
compiled tiny_lora "$work/lion" "${lion[@]}" --set optimizer.learning_rate=1e-3
says "kernels: 1 compiled, "
compiled tiny_lora "$work/lion-other" "${lion[@]}" --set optimizer.learning_rate=1e-3 --set 'optimizer.betas=[0.8, 0.95]' \
  --set optimizer.weight_decay=0.3
says "kernels: 0 compiled, "
compiled tiny_lora "$work/adamw-other" --set 'optimizer.betas=[0.8, 0.95]' --set optimizer.eps=1e-6 --set optimizer.learning_rate=1e-2 \
  --set optimizer.weight_decay=0.3
says "kernels: 0 compiled, "

# --- a run: the loss falls, the state is Lion's, other numbers give another adapter
for run in lion lion-other adamw; do expect 0 "$work/$run/train" --out "$work/$run-out" --quiet; done
mapfile -t losses < <(metric loss "$work/lion-out/metrics.jsonl")
((${#losses[@]} == 20)) || fail "${#losses[@]} losses, expected 20"
less "${losses[19]}" "${losses[0]}" || fail "the loss did not fall: ${losses[0]} -> ${losses[19]}"
tensors "$work/lion-out/adapter_model.safetensors" | sed 's/^base_model.model./exp_avg./' >"$work/states"
(($(wc -l <"$work/states") == 28)) || fail "the adapter has other tensors than 28"
tensors "$work/lion-out/checkpoint-20/optimizer.safetensors" | diff "$work/states" - || fail "the states of lion are not one exp_avg a tensor"
sed 'p; s/^exp_avg/exp_avg_sq/' "$work/states" | sort | diff - <(tensors "$work/adamw-out/checkpoint-20/optimizer.safetensors") ||
  fail "the states of adamw are not exp_avg and exp_avg_sq"
for other in lion-other adamw; do
  ! cmp -s "$work/lion-out/adapter_model.safetensors" "$work/$other-out/adapter_model.safetensors" || fail "'$other' gives lion's adapter"
done

# --- a run that was cut goes on to the same bytes
cp -r "$work/lion-out" "$work/cut"
rm -r "$work/cut/checkpoint-20" "$work"/cut/adapter_*
expect 0 "$work/lion/train" --out "$work/cut" --resume
says "checkpoint-10"
for file in adapter_model.safetensors checkpoint-20/optimizer.safetensors; do same "$work/lion-out/$file" "$work/cut/$file"; done
diff <(metric loss "$work/lion-out/metrics.jsonl") <(metric loss "$work/cut/metrics.jsonl") || fail "the metrics differ"

# --- a checkpoint of another optimizer is refused by name, and left alone
state() { (cd "$1" && find . -type f -exec sha256sum {} + | sort); }
# refused PROGRAM FOLDER WORDS
refused() {
  local before
  before=$(state "$2")
  expect 3 "$1" --out "$2" --resume
  says "$3"
  [[ $(state "$2") == "$before" ]] || fail "a refused resume changed '$2'"
}
compiled tiny_lora "$work/lion-same" "${lion[@]}" # the same rate as adamw's run
refused "$work/lion-same/train" "$work/adamw-out" "'optimizer.name' was \"adamw\" and is \"lion\""
refused "$work/adamw/train" "$work/lion-out" "'optimizer.name' was \"lion\" and is \"adamw\""
refused "$work/lion-other/train" "$work/lion-out" "'optimizer.betas[1]' was 0.99 and is 0.95"

# --- what is planned and explained: one state a parameter, where AdamW has two
for optimizer in adamw lion; do
  expect 0 "$lorac" explain specs/tiny_lora.toml --set optimizer.name=$optimizer --json
  cp "$work/stdout" "$work/explained-$optimizer.json"
  expect 0 "$lorac" plan specs/tiny_lora.toml --set optimizer.name=$optimizer --json
  python3 -c 'import json, sys; print(*[line["bytes"] for line in json.load(open(sys.argv[1]))["lines"] if line["key"] == "optimizer"])' \
    "$work/stdout" >"$work/planned-$optimizer"
done
parameters=$(of bytes.parameters "$work/explained-lion.json")
((parameters > 0)) || fail "no parameters were explained"
[[ $(of bytes.optimizer_states "$work/explained-lion.json") == "$parameters" && $(cat "$work/planned-lion") == "$parameters" ]] ||
  fail "the states of lion are not explained and planned as one a parameter"
[[ $(of bytes.optimizer_states "$work/explained-adamw.json") == $((2 * parameters)) && $(cat "$work/planned-adamw") == $((2 * parameters)) ]] ||
  fail "the states of adamw are not explained and planned as two a parameter"
less "$(of bytes.total "$work/explained-lion.json")" "$(of bytes.total "$work/explained-adamw.json")" || fail "lion is explained as no smaller"
expect 0 "$lorac" explain specs/tiny_lora.toml "${lion[@]}"
prints "Rates: lion, constant"

# --- the spec: its defaults are told before and after a run; a key that it has not is one error
grep -v '^learning_rate' specs/tiny_lora.toml | sed 's/^\[optimizer\]$/&\nname = "lion"/; s|"data/|"'"$source"'/specs/data/|' >"$work/lion.toml"
defaults() {
  sed -n '/^\[optimizer\]/,/^$/p' "$1" >"$work/table"
  for line in 'name = "lion" ' 'learning_rate = 1e-04' 'betas = [0.9, 0.99]' 'weight_decay = 0.0' 'max_grad_norm = 1.0'; do
    grep -qF -- "$line" "$work/table" || { cat "$work/table" >&2; fail "'$1' does not say '$line'"; }
  done
  ! grep -q '^eps' "$work/table" || fail "'$1' has eps"
}
expect 0 "$lorac" check "$work/lion.toml" --effective
defaults "$work/stdout"
expect 0 "$lorac" train "$work/lion.toml" --set train.steps=2 --generated "$work/lion-generated" --out "$work/lion-defaults"
defaults "$work/lion-defaults/spec.toml"
[[ $(metric learning_rate "$work/lion-defaults/metrics.jsonl" | head -1) == 0.0001 ]] || fail "the rate of the run is not lion's"

sed 's/^name = "lion"$/&\neps = 1e-8/' "$work/lion.toml" >"$work/eps.toml"
for command in check compile train plan explain; do
  expect 3 "$lorac" $command "$work/eps.toml"
  says "eps.toml:17:7: error: 'optimizer.eps' says nothing to lion, which divides by no root: leave it out"
  (($(grep -c ': error: ' "$work/stderr") == 1)) || { cat "$work/stderr" >&2; fail "it is not one error"; }
done
