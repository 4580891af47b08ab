# Saves that fail or are killed: the run goes on or stops with what stands whole, resumes to the same bytes, and at no moment is
# there an adapter of two runs. Errors and kills at system calls of the shipped binary, by strace.
source "$(dirname "$0")/common.sh"
command -v strace >/dev/null || skip "strace is not installed"
strace -o /dev/null true 2>/dev/null || skip "strace may not trace here"
flags=(--set train.steps=4 --set train.save_steps=2)
compiled tiny_lora "$work/g" "${flags[@]}"
compiled tiny_lora "$work/longer" "${flags[@]}" --set train.steps=6
# The same steps with another alpha: weights and configuration of two runs that must not be mixed.
compiled tiny_lora "$work/other" "${flags[@]}" --set adapter.lora_alpha=3
cd "$work"
export LORAC_SAVE_WAIT=0

# consistent OUT WHOLE...: OUT holds no adapter, or one that is byte for byte that of a WHOLE.
consistent() {
  local out=$1 whole
  shift
  [[ -e $out/adapter_model.safetensors ]] || return 0
  for whole in "$@"; do
    cmp -s "$out/adapter_model.safetensors" "$whole/adapter_model.safetensors" &&
      cmp -s "$out/adapter_config.json" "$whole/adapter_config.json" && return 0
  done
  echo "an adapter of two runs" >&2
  return 1
}

expect 0 g/train --out whole --threads 1
expect 0 other/train --out other.whole --threads 1

# injected CALL ERROR WHEN COMMAND...: the command with this error; its code goes to $code.
injected() {
  local call=$1 what=$2 when=$3
  shift 3
  code=0
  { strace -qq -f -o trace -e "trace=$call" -e "inject=$call:$what:when=$when" "$@" >stdout 2>stderr </dev/null; } 2>/dev/null ||
    code=$?
}
hit() { grep -q INJECTED trace; }

tried=0 killed=0
# One error: the run ends well, or before its first step with what it could not do.
for case in fsync:EIO rename:ENOSPC mkdir:ENOSPC openat:EMFILE read:EIO; do
  call=${case%:*}
  step=4
  [[ $call == openat || $call == read ]] && step=41
  for ((n = 1; n < 400; n += step)); do
    rm -rf out
    injected "$call" "error=${case#*:}" $n g/train --out out --threads 1
    hit || break
    ((++tried))
    [[ $code == 127 ]] && continue # the loader's own call
    if [[ $code == 0 ]]; then
      expect 0 "$lorac" verify out
      same whole/adapter_model.safetensors out/adapter_model.safetensors
      same whole/adapter_config.json out/adapter_config.json
    else
      [[ $code == 70 ]] && { cat stderr; fail "$case $n: code 70"; }
      grep -q "^error: " stderr || { cat stderr; fail "$case $n: code $code without a word"; }
      [[ ! -e out ]] || expect 0 g/train --out out --resume --threads 1
    fi
  done
done
# From some call on: what was saved stays whole, the end says what stands and how to go on, and it does.
for case in fsync:ENOSPC rename:ENOSPC; do
  call=${case%:*}
  for ((n = 1; n < 100; n += 9)); do
    rm -rf out
    injected "$call" "error=${case#*:}" "$n+" g/train --out out --threads 1
    hit || break
    ((++tried))
    [[ $code == 1 ]] || { cat stderr; fail "$case from $n on: code $code"; }
    consistent out whole || fail "$case from $n on"
    if compgen -G "out/checkpoint-*" >/dev/null; then
      grep -q "checkpoint-[24]' stands" stderr || { cat stderr; fail "$case from $n on: it is not said what stands"; }
    fi
    expect 0 g/train --out out --resume --threads 1
    same whole/adapter_model.safetensors out/adapter_model.safetensors
    expect 0 "$lorac" verify out
  done
done
# Killed at each call that changes names: a fresh run, and one that takes the place of another or goes on behind it.
for start in fresh overwrite longer; do
  for call in rename,renameat2 unlink,unlinkat,rmdir mkdir fsync; do
    step=7
    [[ $start == overwrite && $call == rename* ]] && step=2 # where one run takes another's place
    [[ $call == fsync ]] && step=17
    for ((n = 1; n < 100; n += step)); do
      rm -rf out
      case $start in
      fresh) command=(g/train --out out) wholes=(whole) ;;
      overwrite)
        cp -a other.whole out
        command=(g/train --out out --overwrite) wholes=(whole other.whole)
        ;;
      longer)
        [[ -e shorter.whole ]] || expect 0 g/train --out shorter.whole --threads 1
        [[ -e longer.whole ]] || { cp -a shorter.whole longer.whole && expect 0 longer/train --out longer.whole --threads 1 --resume; }
        cp -a shorter.whole out
        command=(longer/train --out out --resume) wholes=(shorter.whole longer.whole)
        ;;
      esac
      injected "$call" signal=KILL $n "${command[@]}" --threads 1
      [[ $code == 0 ]] && break
      ((++killed))
      consistent out "${wholes[@]}" || fail "$start, killed at $call $n"
      code=0
      "$lorac" verify out >stdout 2>stderr || code=$?
      [[ $code == 0 || $code == 3 ]] || { cat stderr; fail "$start, killed at $call $n: damaged"; }
      if [[ $start == overwrite ]] && ! cmp -s other.whole/adapter_model.safetensors out/adapter_model.safetensors; then
        compgen -G "out/checkpoint-*" >/dev/null || fail "killed at $call $n: the old run is gone before there is a new one"
      fi
      # It goes on, or the old run does; either ends in its own bytes.
      if ! g/train --out out --resume --threads 1 >stdout 2>stderr </dev/null; then
        [[ $start != fresh ]] || { cat stderr; fail "killed at $call $n: no resume"; }
        next=$([[ $start == overwrite ]] && echo other || echo longer)
        expect 0 $next/train --out out --resume --threads 1
      fi
      consistent out "${wholes[@]}" || fail "$start, killed at $call $n and resumed"
      [[ -e out/adapter_model.safetensors ]] || fail "no adapter"
      expect 0 "$lorac" verify out
      ! compgen -G "out/*.tmp-*" >/dev/null || fail "left-overs: $(ls out)"
    done
  done
done
# An export over an older one, killed at each call: the one or the other.
expect 0 "$lorac" export whole --format peft -o a.peft
expect 0 "$lorac" export other.whole --format peft -o b.peft
for call in rename,renameat2 unlink,unlinkat,rmdir fsync; do
  for ((n = 1; n < 40; n += 3)); do
    rm -rf e.peft* && cp -a a.peft e.peft
    injected "$call" signal=KILL $n "$lorac" export other.whole --format peft -o e.peft --force
    [[ $code == 0 ]] && break
    ((++killed))
    expect 0 "$lorac" verify e.peft
    consistent e.peft a.peft b.peft || fail "export killed at $call $n"
  done
done
echo "$tried errors, $killed kills"
((tried > 20 && killed > 20)) || fail "too little was tested"
