# disk-full.sh BUILD SOURCE PRELOAD: a file system without room. Before step 1 it is looked at (preload.c says how much is free);
# a file of metrics that takes nothing more is told and ends no run.
source "$(dirname "$0")/common.sh"
cd "$source"
preload=$3
compiled tiny_lora "$work/g" --set train.steps=8 --set train.save_steps=2
compiled tiny_lora "$work/limited" --set train.steps=8 --set train.save_steps=2 --set train.save_total_limit=1
compiled tiny_lora "$work/none" --set train.steps=8 --set train.save_steps=0
train="$work/g/train --threads 1"
cd "$work"
parameters=$(python3 -c 'import json; print(next(r["count"] for r in json.load(open("g/plan.json"))["arena"]["regions"] if r["kind"] == "params"))')
one=$((parameters * 12 + 65536)) adapter=$((parameters * 4))
least=$((one + one / 3))
# with BYTES CODE COMMAND...: the command where so much is free, in whole pages.
with() { expect "$2" env "LD_PRELOAD=$preload" "FREE_BYTES=$1" "${@:3}"; }
begun() { grep -q "^step 1/" stderr; }

# No room for one checkpoint: nothing is begun, and an older run is as it was.
for free in 0 4096 $((least - 4096)); do
  with $free 1 $train --out out
  says " free; a checkpoint and the adapter take "
  says ": free some, or name another folder with --out"
  ! begun || fail "a step was done with $free bytes free"
  ! compgen -G "out/*" >/dev/null || fail "something was written: $(ls out)"
done
expect 0 $train --out older --steps 4
before=$(cd older && find . -type f -exec sha1sum {} + | sort)
for flag in --overwrite --resume; do
  with 4096 1 $train --out older $flag
  says "'older' has 4.0 KiB free"
  [[ $(cd older && find . -type f -exec sha1sum {} + | sort) == "$before" ]] || fail "a run without room touched the older one ($flag)"
done
with 4096 1 none/train --out out
! begun || fail "a run whose one checkpoint has no room was begun"
with 4096 1 "$lorac" train "$source/specs/tiny_lora.toml" --set "data.path=\"$source/specs/data/tiny_tokens.safetensors\"" --generated again --out out
says ": free some, or name another folder with --out"

# Room for one, but not for all: said, with what keeps fewer; as many as fit are not spoken of.
with $((least + 8192)) 0 $train --out some
says "warning: 'some' has "
says "4 checkpoints and the adapter take "
says "train.save_total_limit keeps only so many of them"
begun || fail "a run that has room for a checkpoint was not begun"
with $((5 * one)) 0 $train --out all
! grep -q "save_total_limit" stderr || fail "warned of room that is there"
with $((4 * one)) 0 limited/train --out few
! grep -q "save_total_limit" stderr || fail "warned of checkpoints that are not kept"
# A run at its end needs the adapter alone.
expect 0 $train --out end
rm end/adapter_model.safetensors
with $((adapter + 65536)) 0 $train --out end --resume
same all/adapter_model.safetensors end/adapter_model.safetensors

# Metrics on a full disk: told once and at the end, and the run's own metrics and its bytes are what they would be.
expect 0 $train --out full --metrics /dev/full
says "warning: cannot write metrics to '/dev/full': No space left on device; the run goes on"
[[ $(grep -c "cannot write metrics" stderr) == 1 ]] || fail "not said once"
says "lines are missing at the end of '/dev/full'"
same all/adapter_model.safetensors full/adapter_model.safetensors
[[ $(metric loss full/metrics.jsonl | wc -l) == 8 ]] || fail "the run's own metrics lack lines"
expect 0 "$lorac" verify full
# A file: lines that find no room are written when there is some, none twice and none in half.
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
  metrics() { # WHEN: a run whose writes to m.jsonl fail so.
    rm -f m.jsonl
    : >m.jsonl
    expect 0 strace -qq -f -o trace -P "$work/m.jsonl" -e trace=write -e "inject=write:error=ENOSPC:when=$1" \
      $train --out full --overwrite --metrics m.jsonl
    grep -q INJECTED trace || fail "no write to the metrics failed"
    says "warning: cannot write metrics to 'm.jsonl': No space left on device; the run goes on"
    same all/adapter_model.safetensors full/adapter_model.safetensors
  }
  for n in 1 4; do
    metrics $n
    ! grep -q "lines are missing" stderr || fail "lines that were written later are called missing"
    diff <(metric loss m.jsonl) <(metric loss full/metrics.jsonl) || fail "the file of metrics lacks lines, or has some twice"
  done
  metrics 4+
  says "lines are missing at the end of 'm.jsonl'"
  [[ $(metric loss m.jsonl | wc -l) == 3 ]] || fail "$(cat m.jsonl)"
fi
