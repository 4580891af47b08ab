# Whose files an output folder holds: what lorac did not write is never replaced, what cannot be gone on from is never touched, and
# an older run stays until a newer one has a checkpoint.
source "$(dirname "$0")/common.sh"
cd "$source"
flags=(--set train.steps=6 --set train.save_steps=2)
compiled tiny_lora "$work/g" "${flags[@]}"
compiled tiny_lora "$work/long" --set train.steps=1000000 --set train.save_steps=1000000
train="$work/g/train --threads 1"
cd "$work"

flip() { # flip FILE: one bit in its middle
  python3 -c 'import sys; b = bytearray(open(sys.argv[1], "rb").read()); b[len(b) // 2] ^= 1; open(sys.argv[1], "wb").write(b)' "$1"
}
state() { (cd "$1" && find . -printf '%p %y %s %l\n' | sort && find . -type f -exec sha1sum {} + | sort); }
# untouched DIR CODE TEXT COMMAND...: it ends with CODE, says TEXT, and DIR is as it was.
untouched() {
  local folder=$1 code=$2 text=$3 before
  shift 3
  before=$(state "$folder")
  expect "$code" "$@"
  says "$text"
  [[ $(state "$folder") == "$before" ]] || fail "'$folder' was touched by: $*"
}
copy() { rm -rf "$2" && cp -a "$1" "$2"; }

# A folder that is absent or empty: --resume begins there, and says so.
expect 0 $train --out run --resume
says "no checkpoint and no adapter in 'run': begins at step 0"
mkdir empty
expect 0 $train --out empty --resume
says "begins at step 0"
same run/adapter_model.safetensors empty/adapter_model.safetensors
[[ $(ls run | tr '\n' ' ') == "README.md adapter_config.json adapter_model.safetensors checkpoint-2 checkpoint-4 checkpoint-6 \
manifest.json metrics.jsonl spec.toml " ]] || fail "other files: $(ls run)"
expect 0 "$lorac" verify run
prints "are what lorac wrote"

# No checkpoint is left, but the adapter is.
copy run t
rm -r t/checkpoint-*
untouched t 3 "holds a finished adapter and no checkpoint to go on from: nothing was touched" $train --out t --resume
expect 2 $train --out t
# The only checkpoint is damaged: each of its files, flipped, cut, gone.
copy run one
rm -r one/checkpoint-{2,4}
for name in optimizer.safetensors adapter_model.safetensors adapter_config.json trainer_state.json; do
  for harm in flip "truncate -s -1" "truncate -s 0" rm; do
    [[ $harm == "truncate -s -1" && $name == trainer_state.json ]] && continue # a line's end
    copy one t
    $harm t/checkpoint-6/$name
    untouched t 5 "$name" $train --out t --resume
    says "nothing was touched"
  done
done
# A whole one beside it is gone on from, and that is said.
copy run t
flip t/checkpoint-6/optimizer.safetensors
expect 0 $train --out t --resume
says "checkpoint-6' is corrupt: 'optimizer.safetensors' has hash"
says "goes on from 't/checkpoint-4' at step 4 of 6"
same run/adapter_model.safetensors t/adapter_model.safetensors
expect 0 "$lorac" verify t
# Checkpoints of another program.
mkdir -p theirs/checkpoint-500
echo '{"epoch": 1.0, "global_step": 500}' >theirs/checkpoint-500/trainer_state.json
touch theirs/checkpoint-500/optimizer.pt
for flag in "" --resume --overwrite; do
  untouched theirs 3 "'checkpoint-500', which lorac did not write" $train --out theirs $flag
done

# Names of lorac's that somebody else has: a file, a link, a folder; whatever the flag.
for name in README.md spec.toml metrics.jsonl manifest.json ranks.svg adapter_config.json adapter_model.safetensors checkpoint-4; do
  for kind in file link folder; do
    rm -rf mine && mkdir mine && echo precious >victim
    case $kind in
    file) echo "my own" >mine/$name ;;
    link) ln -s ../victim mine/$name ;;
    folder) mkdir mine/$name ;;
    esac
    for flag in "" --resume --overwrite; do
      [[ $kind == file || $flag == --overwrite ]] || continue
      untouched mine 3 "$name" $train --out mine $flag
    done
    [[ $(cat victim) == precious ]] || fail "a link was followed"
  done
done
mkdir project && cd project
echo "# My project" >README.md
untouched . 3 "output folder '.' holds 'README.md', which lorac did not write: nothing was touched; move it away" $train --out .
cd ..
# The same in a finished run: what was edited since is the user's.
for name in README.md spec.toml adapter_config.json adapter_model.safetensors; do
  copy run t
  if [[ $name == *.safetensors ]]; then flip t/$name; else echo "# mine" >>t/$name; fi
  for flag in --resume --overwrite; do
    untouched t 3 "'$name', not as lorac wrote it: damaged, or changed since" $train --out t $flag
  done
done
copy run t
echo mine >t/checkpoint-4/notes.txt
untouched t 3 "'checkpoint-4/notes.txt', which lorac did not write" $train --out t --overwrite
copy run t
flip t/manifest.json
untouched t 5 "manifest.json' is corrupt" $train --out t --resume
untouched t 5 "manifest.json' is corrupt" $train --out t --overwrite
# A checkpoint under another's name; a model's folder.
copy run t
rm -r t/checkpoint-6 t/adapter_* && mv t/checkpoint-4 t/checkpoint-5
untouched t 3 "it was renamed; give it the name checkpoint-4 again" $train --out t --resume
for name in config.json model.safetensors model.safetensors.index.json; do
  rm -rf mine && mkdir mine && echo '{}' >mine/$name
  for flag in "" --resume --overwrite; do
    untouched mine 3 "output folder 'mine' holds a model ('$name')" $train --out mine $flag
  done
done
# A checkpoint that was brought from another run: gone on from, never removed.
copy run t
rm -r t/checkpoint-6
$train --out t --resume >/dev/null 2>&1 </dev/null || fail "does not go on"
expect 0 $work/g/train --threads 1 --out other --steps 3
rm -rf t/checkpoint-3 && cp -a other/checkpoint-3 t/
untouched t 3 "'checkpoint-3', which lorac did not write" $train --out t --overwrite
rm -r t/checkpoint-{3,4}
expect 5 "$lorac" verify t
says "checkpoint-4' is missing"
# What is no number, and seconds that are none.
untouched run 2 "LORAC_SAVE_WAIT is 'soon', which is no number of seconds" env LORAC_SAVE_WAIT=soon $train --out u
expect 0 env LORAC_TRAIN_STEPS=1 $train --out variables --steps 2
says "warning: the variable LORAC_TRAIN_STEPS changes nothing in a compiled program"
: >t/manifest.json
untouched t 5 "manifest.json' is corrupt: it is empty" $train --out t --resume
for flag in --temperature --top-p; do
  untouched run 2 "'nan' is no number from 0 to" "$work/g/train" --generate --prompt a $flag nan
done
# A shell's variable that was not set.
for flag in --out --metrics --profile --model; do
  untouched run 2 "$flag is given an empty value" $train $flag ""
done
untouched run 2 "--out is given an empty value" "$lorac" compile "$source/specs/tiny_lora.toml" --out ""
# Other names are no business of lorac's.
copy run t
echo mine >t/notes.txt
expect 0 $train --out t --overwrite
[[ $(cat t/notes.txt) == mine ]] || fail "a file of the user's is gone"
same run/adapter_model.safetensors t/adapter_model.safetensors
expect 0 "$lorac" verify t

# A run of a version without a manifest: its checkpoints and metrics prove themselves, its words do not.
copy run t
rm t/manifest.json
untouched t 3 "'README.md', 'spec.toml', which lorac did not write or which no manifest.json lists" $train --out t --resume
rm -r t/{README.md,spec.toml,checkpoint-6,adapter_config.json,adapter_model.safetensors}
expect 0 $train --out t --resume
says "goes on from 't/checkpoint-4'"
same run/adapter_model.safetensors t/adapter_model.safetensors

# --overwrite: the old run stays until the new one has a checkpoint.
copy run t
"$work/long/train" --out t --overwrite >/dev/null 2>stderr </dev/null &
child=$!
for _ in $(seq 200); do [[ -s t/metrics.new.jsonl ]] && break || sleep 0.05; done
kill -KILL $child
wait $child || true
for name in adapter_model.safetensors adapter_config.json README.md metrics.jsonl; do same run/$name t/$name; done
expect 0 "$lorac" verify t
expect 0 $train --out t --resume
says "goes on from 't/checkpoint-6' at step 6 of 6"
[[ ! -e t/metrics.new.jsonl ]] || fail "metrics of a run that is no more"
# Stopped by a signal it has one.
"$work/long/train" --out t --overwrite >/dev/null 2>stderr </dev/null &
child=$!
for _ in $(seq 200); do [[ -s t/metrics.new.jsonl ]] && break || sleep 0.05; done
kill -TERM $child
wait $child || true
[[ $(ls t | tr '\n' ' ') =~ ^checkpoint-[0-9]+\ manifest.json\ metrics.jsonl\ $ ]] || fail "other files: $(ls t)"
expect 0 "$lorac" verify t

# metrics.jsonl that lost lines (a power cut): said, and ended at a whole line.
copy run t
rm -r t/checkpoint-6
truncate -s 300 t/metrics.jsonl
expect 0 $train --out t --resume
says "metrics.jsonl' does not hold the lines that the checkpoint of step 4 counts"
python3 -c 'import json; [json.loads(line) for line in open("t/metrics.jsonl")]' || fail "a broken line"

# verify and every reader of adapters find a flipped bit.
for name in adapter_model.safetensors adapter_config.json README.md spec.toml metrics.jsonl checkpoint-4/optimizer.safetensors \
  checkpoint-2/adapter_model.safetensors checkpoint-6/trainer_state.json; do
  copy run t
  flip t/$name
  expect 5 "$lorac" verify t
  says "$(basename $name)"
done
copy run t
rm t/spec.toml
expect 5 "$lorac" verify t
says "'t/spec.toml' is missing"
expect 0 "$lorac" verify run/checkpoint-4
expect 3 "$lorac" verify theirs
says "nothing to verify"
for name in adapter_model.safetensors adapter_config.json; do
  for place in . checkpoint-4; do
    copy run t
    flip t/$place/$name
    expect 5 "$work/g/train" --eval --adapter t/$place
    says "'t/$place/$name' is not what lorac wrote there"
    expect 5 "$lorac" export t/$place --format peft -o exported
    says "$name"
    [[ ! -e exported ]] || fail "a damaged adapter was exported"
  done
done
copy run t
(cd "$source" && expect 0 "$lorac" compile specs/tiny_lora.toml -o "$work/from" --set "adapter.init_from=\"$work/t\"" "${flags[@]}")
flip t/adapter_model.safetensors
expect 5 "$work/from/train" --out from.out
says "adapter_model.safetensors' is not what lorac wrote there"
(cd "$source" && expect 5 "$lorac" check specs/tiny_lora.toml --set "adapter.init_from=\"$work/t\"")
says "adapter_model.safetensors' is not what lorac wrote there"

# save_total_limit: the newest so many, and the best.
(cd "$source" && expect 0 "$lorac" compile specs/tiny_lora.toml -o "$work/few" --set train.steps=9 --set train.save_steps=1 \
  --set train.save_total_limit=2)
expect 0 "$work/few/train" --out little
[[ $(echo little/checkpoint-*) == "little/checkpoint-8 little/checkpoint-9" ]] || fail "other checkpoints: $(echo little/checkpoint-*)"
expect 0 "$lorac" verify little
