# SIGTERM and Ctrl-C: the step ends, a checkpoint is written, the command to go on is said, and the code tells the signal.
source "$(dirname "$0")/common.sh"
compiled tiny_lora "$work/generated" --set train.steps=100000 --set train.save_steps=100000
for signal in TERM INT; do
  # An asynchronous child of a script ignores SIGINT, so one is started that does not.
  perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$work/generated/train" --out "$work/$signal" >/dev/null 2>"$work/stderr" &
  child=$!
  for _ in $(seq 100); do
    [[ -s $work/$signal/metrics.jsonl ]] && break
    sleep 0.1
  done
  kill -$signal $child
  code=0
  wait $child || code=$?
  [[ $code == $((128 + $(kill -l $signal))) ]] || { cat "$work/stderr" >&2; fail "exit code $code after SIG$signal"; }
  says "--resume"
  compgen -G "$work/$signal/checkpoint-*" >/dev/null || fail "no checkpoint after SIG$signal"
done
