# optimizer.sh BUILD SOURCE NAME OTHERS [KEY=VALUE...]: a run by another optimizer, through the binary. The loss falls; what is evaluated is
# what is saved; a run that was cut goes on to the same bytes; evaluations change none of them; OTHERS (KEY=VALUE,…), which are numbers, compile
# nothing and give another adapter; a checkpoint of another optimizer is refused.
source "$(dirname "$0")/common.sh"
cd "$work"
ownKernels # they are counted
name=$3
mkdir model
cp "$source"/tests/golden/tiny/tied/{config.json,model.safetensors} model/
cp "$source/tests/golden/tokenizer/bytelevel.tokenizer.json" model/tokenizer.json
cat >spec.toml <<END
[model]
source = "model"
[adapter]
r = 4
[[data]]
path = "$source/tests/fixtures/prose.md"
format = "text"
separator = "\n\n"
eval_fraction = 0.2
overlong = "split"
[train]
steps = 20
batch_size = 4
max_length = 32
eval_steps = 7
save_steps = 10
[target]
device = "cpu"
END
keys=(--set "optimizer.name=$name")
for key in "${@:5}"; do keys+=(--set "$key"); done
IFS=, read -ra numbers <<<"$4"
others=("${keys[@]}")
for key in "${numbers[@]}"; do others+=(--set "$key"); done

# made FOLDER [FLAG...]: compiles the spec.
made() { expect 0 "$lorac" compile spec.toml -o "$1" "${@:2}"; }
made program "${keys[@]}"
expect 0 program/train --out out --quiet
mapfile -t losses < <(metric loss out/metrics.jsonl)
((${#losses[@]} == 20)) || fail "${#losses[@]} losses, expected 20"
held=($(metric eval_loss out/metrics.jsonl))
less "${held[-1]}" "${held[0]}" || fail "the loss on held-out samples did not fall: ${held[*]}"

# What was evaluated last is what was saved.
expect 0 program/train --eval --adapter out --json
saved=$(python3 -c '
import json
samples = [s for s in json.load(open("stdout"))["samples"] if s["held_out"] and s["labels"]]
print(sum(s["loss"] * s["labels"] for s in samples) / sum(s["labels"] for s in samples))')
awk -v a="$saved" -v b="${held[-1]}" 'BEGIN { d = a / b - 1; exit !(d < 1e-5 && d > -1e-5) }' || fail "evaluated ${held[-1]}, the adapter has $saved"

# A run that was cut, and one that evaluates at other steps.
cp -r out cut
rm -r cut/checkpoint-20 cut/adapter_*
expect 0 program/train --out cut --resume
says "checkpoint-10"
diff <(metric loss out/metrics.jsonl) <(metric loss cut/metrics.jsonl) || fail "the losses differ"
made elsewhere "${keys[@]}" --set train.eval_steps=3
expect 0 elsewhere/train --out elsewhere-out --quiet
for file in adapter_model.safetensors checkpoint-20/{adapter_model,optimizer}.safetensors; do
  same out/$file cut/$file
  same out/$file elsewhere-out/$file
done

made other "${others[@]}"
says "kernels: 0 compiled, "
expect 0 other/train --out other-out --quiet
! cmp -s out/adapter_model.safetensors other-out/adapter_model.safetensors || fail "other numbers give the same adapter"

same=() # the same adapter by another optimizer
for key in "${@:5}"; do [[ $key != adapter.* ]] || same+=(--set "$key"); done
made adamw "${same[@]}"
expect 3 adamw/train --out out --resume
says "'optimizer.name' was \"$name\" and is \"adamw\""
