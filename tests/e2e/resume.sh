# A run that is killed at random moments and resumed ends in the bytes of one that was left alone.
source "$(dirname "$0")/common.sh"
steps=300
for spec in tiny_lora tiny_qlora; do
  compiled $spec "$work/$spec" --set train.steps=$steps --set train.save_steps=7 --set adapter.lora_dropout=0.1
  train=$work/$spec/train
  expect 0 "$train" --out "$work/whole"

  RANDOM=11
  signals=(TERM KILL INT KILL)
  interrupted=0
  for ((try = 0; ; ++try)); do
    ((try < 60)) || fail "no end after $try runs"
    # After a dozen interruptions the run is left to finish.
    code=0
    "$train" --out "$work/cut" --resume >"$work/stdout" 2>"$work/stderr" </dev/null &
    child=$!
    if ((try < 12)); then
      sleep "0.$(printf %03d $((RANDOM % 400)))"
      kill -"${signals[try % 4]}" "$child" 2>/dev/null || true
    fi
    wait "$child" 2>/dev/null || code=$?
    case $code in
    0) break ;;
    130 | 143 | 137) ((++interrupted)) ;;
    *)
      cat "$work/stderr" >&2
      fail "exit code $code"
      ;;
    esac
  done
  ((interrupted >= 2)) || fail "only $interrupted interruptions: nothing was tested"
  same "$work/whole/adapter_model.safetensors" "$work/cut/adapter_model.safetensors"
  diff <(metric loss "$work/whole/metrics.jsonl") <(metric loss "$work/cut/metrics.jsonl") || fail "the metrics differ"
  rm -r "$work/whole" "$work/cut"
done
