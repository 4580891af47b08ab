# The compiler that an AdaLoRA run asks for smaller programs: one that fails, is killed, lies or is late changes no rank; one that
# is absent or unfit is said before step 1.
source "$(dirname "$0")/common.sh"
cd "$source"
unset LORAC
flags=(--set train.steps=40 --set train.save_steps=1 --set adapter.adalora.tinit=3 --set adapter.adalora.tfinal=12
  --set adapter.adalora.deltaT=5)
compiled tiny_adalora "$work/generated" "${flags[@]}"
train=$work/generated/train
expect 0 "$train" --lorac "$lorac" --out "$work/whole"

# compiler NAME BODY: a lorac that answers as ours does when it is probed, and else runs BODY with ours as $lorac.
compiler() {
  printf '#!/bin/bash\nlorac=%q\n[[ $2 == --probe ]] && exec "$lorac" "$@"\n%s\n' "$lorac" "$2" >"$work/$1.lorac"
  chmod +x "$work/$1.lorac"
}

# disturbed NAME TEXT: a run with compiler NAME goes on to its end, says TEXT, and its ranks are those of the undisturbed one.
disturbed() {
  rm -rf "$LORAC_CACHE_DIR/programs"
  expect 0 "$train" --lorac "$work/$1.lorac" --out "$work/$1"
  grep -F "warning: step 14: no smaller program: " "$work/stderr" | grep -qF -- "$2" ||
    { cat "$work/stderr"; fail "$1: no warning that says '$2'"; }
  python3 - "$work/whole" "$work/$1" "$2" <<'P' || fail "$1: the run is another one"
import json, pathlib, sys
whole, cut = (pathlib.Path(folder) for folder in sys.argv[1:3])
lines = [[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (whole, cut)]
losses = [[line["loss"] for line in of if "loss" in line] for of in lines]
assert len(losses[0]) == len(losses[1]) == 40
assert max(abs(x / y - 1) for x, y in zip(*losses)) < 1e-5, "losses"
made = [[(line["step"], line["budget"], line["rank_pattern"]) for line in of if "budget" in line] for of in lines]
assert len(made[0]) == 6 and made[0] == made[1], "allocations"
for step in range(1, 41):  # which triplets are alive, masked or dead
    states = [json.loads((folder / f"checkpoint-{step}/trainer_state.json").read_text()) for folder in (whole, cut)]
    assert states[0]["ranks"]["triplets"] == states[1]["ranks"]["triplets"], f"triplets of step {step}"
configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in (whole, cut)]
assert configs[0] == configs[1], "adapter_config.json"
programs = json.loads((cut / "manifest.json").read_text())["programs"]
assert programs and sys.argv[3] in programs[0]["failure"], programs
assert "program_ranks" in json.dumps(lines[0]) and "program_ranks" not in json.dumps(lines[1])
P
}

compiler failing 'echo "out of luck" >&2; exit 1'
disturbed failing "lorac ended with code 1: out of luck"
compiler killed 'kill -KILL $$'
disturbed killed "lorac was killed by signal 9"
compiler silent 'exit 0'
disturbed silent "what lorac said"
# Its program is cut off; what is left of it in the cache is made again by a compiler that works.
compiler cut '"$lorac" "$@" || exit; truncate -s -4000 "$6"'
disturbed cut "carries no program, or was cut short"
works_again() {
  expect 0 "$train" --lorac "$lorac" --out "$work/again" --overwrite
  same "$work/whole/adapter_model.safetensors" "$work/again/adapter_model.safetensors"
}
works_again
# Its program is whole, but not the one that was asked for: of another model; of other ranks.
expect 0 "$lorac" compile specs/tiny_adalora.toml -o "$work/another" "${flags[@]}" --set model.shape.intermediate_size=96
compiler other "\"\$lorac\" recompile $work/another/train \"\${@:3}\""
disturbed other "the new program is of another model or target"
compiler larger 'sed "s/:[0-9]*/:24/g" >"$0.ranks"; exec "$lorac" recompile "$2" --ranks "$0.ranks" "${@:5}"'
disturbed larger "'model.layers.0.self_attn.q_proj.lora_A.weight' has 1536 values in the new program, and 1024 are to stay"
works_again # what it left in the cache is not taken again
rm -rf "$LORAC_CACHE_DIR/programs"

# A build that is late is waited for: the same bytes. A run that is stopped while it waits goes on to them too.
compiler late 'sleep 2; exec "$lorac" "$@"'
expect 0 "$train" --lorac "$work/late.lorac" --out "$work/late"
same "$work/whole/adapter_model.safetensors" "$work/late/adapter_model.safetensors"
grep -q '"waited_ms": [1-9][0-9][0-9]' "$work/late/manifest.json" || fail "no build was waited for"
rm -rf "$LORAC_CACHE_DIR/programs"
compiler endless 'touch "$0.asked"; exec sleep 1000'
"$train" --lorac "$work/endless.lorac" --out "$work/stopped" >/dev/null 2>"$work/stderr" &
child=$!
while [[ ! -e $work/endless.lorac.asked || ! -d $work/stopped/checkpoint-14 ]]; do
  kill -0 $child || fail "the run did not wait"
  sleep 0.05
done
sleep 0.2
kill -TERM $child
code=0
wait $child || code=$?
[[ $code == 143 ]] || fail "a run that waits was stopped with code $code"
expect 0 "$train" --lorac "$lorac" --out "$work/stopped" --resume
same "$work/whole/adapter_model.safetensors" "$work/stopped/adapter_model.safetensors"

# No compiler: said before step 1, with what mends it. At fixed size the ranks are the same.
mkdir "$work/alone"
cp "$train" "$work/alone/"
alone() { expect "$1" env PATH=/usr/bin:/bin "$work/alone/train" --out "$work/fixed" "${@:2}"; }
alone 3
says "error: no lorac was found beside this program, on PATH, by --lorac or in \$LORAC; it builds smaller programs"
says "name one by --lorac, or train at full size with --allow-fixed-ranks"
[[ $(grep -c "error" "$work/stderr") == 1 ]] || fail "more than one error"
[[ ! -e $work/fixed/metrics.jsonl ]] || fail "a run was begun"
alone 0 --allow-fixed-ranks
says "warning: no lorac was found"
says "the program stays (--allow-fixed-ranks): the ranks fall, memory and time do not"
grep -qF -- "--allow-fixed-ranks: no lorac to build programs with" "$work/fixed/manifest.json" || fail "the manifest does not say it"
ranks() { grep '"budget"' "$1/metrics.jsonl" | sed 's/.*"rank_pattern": \({[^}]*}\).*/\1/'; }
diff <(ranks "$work/whole") <(ranks "$work/fixed") || fail "the ranks differ"
same "$work/whole/adapter_config.json" "$work/fixed/adapter_config.json"
# A checkpoint of a smaller program cannot go on without one.
cp -r "$work/whole" "$work/half"
rm -r "$work"/half/checkpoint-{3?,40}
expect 3 env PATH=/usr/bin:/bin "$work/alone/train" --out "$work/half" --resume --allow-fixed-ranks
says "name one by --lorac"
# `mask` needs none.
expect 0 "$lorac" compile specs/tiny_adalora.toml -o "$work/mask" "${flags[@]}" --set 'adapter.adalora.prune="mask"'
cp "$work/mask/train" "$work/alone/train-mask"
expect 0 env PATH=/usr/bin:/bin "$work/alone/train-mask" --out "$work/masked"
# Beside the program, on PATH and by $LORAC it is found.
ln -s "$lorac" "$work/alone/lorac"
alone 0 --overwrite
mkdir "$work/bin"
mv "$work/alone/lorac" "$work/bin/lorac"
expect 0 env "PATH=$work/bin:/usr/bin:/bin" "$work/alone/train" --out "$work/fixed" --overwrite
expect 0 env "LORAC=$lorac" PATH=/usr/bin:/bin "$work/alone/train" --out "$work/fixed" --overwrite

# One that is no lorac, or another one.
alone 2 --overwrite --lorac "$work/nowhere"
says "error: --lorac names '$work/nowhere', which is no executable file"
expect 2 env "LORAC=$work" "$train" --out "$work/refused"
says "error: \$LORAC names '$work', which is no executable file"
for answer in '{"version": "9.9", "abi": 999, "compiler": "lorac 9.9"}' 'hello' '{"version": "9.9"}'; do
  printf '#!/bin/bash\necho %q\n' "$answer" >"$work/foreign"
  chmod +x "$work/foreign"
  expect 3 "$train" --lorac "$work/foreign" --out "$work/refused"
  says "error: '$work/foreign' (--lorac) cannot compile this run's programs: "
  [[ $answer != *999* ]] || says "it makes programs of ABI 999, this run needs "
done
expect 3 "$train" --lorac /bin/false --out "$work/refused"
says "cannot compile this run's programs: lorac ended with code 1"
