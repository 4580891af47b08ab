# adalora-hang.sh BUILD SOURCE PRELOAD: a compiler that hangs is stopped when its ten minutes are over, which is said, and the run goes
# on without the smaller program: the same ranks. The minutes are those of a clock that jumps (preload.c).
source "$(dirname "$0")/common.sh"
cd "$source"
unset LORAC
preload=$3
shape='model.shape={ layers = 1, hidden_size = 64, intermediate_size = 64, n_heads = 4, n_kv_heads = 4, head_dim = 16, vocab_size = 512, rms_norm_eps = 1e-5, max_position_embeddings = 256 }'
compiled tiny_adalora "$work/generated" --set "$shape" --set 'adapter.target_modules=["q_proj"]' --set train.steps=24 \
  --set train.save_steps=1000 --set adapter.adalora.tinit=3 --set adapter.adalora.tfinal=10 --set adapter.adalora.deltaT=5
train=$work/generated/train
expect 0 "$train" --lorac "$lorac" --out "$work/whole"
grep -q '"program_ranks"' "$work/whole/metrics.jsonl" || fail "no smaller program took over"
rm -rf "$LORAC_CACHE_DIR/programs"

# One that hangs, with a child of its own; the clock jumps a moment after it was asked. A run that waits on is ended.
cat >"$work/hanging" <<P
#!/bin/bash
[[ \$2 == --probe ]] && exec "$lorac" "\$@"
echo asked >>"$work/asked"
sleep 1000 &
echo \$! \$\$ >"$work/pids"
sleep 0.5
touch "$work/jump"
wait
P
chmod +x "$work/hanging"
expect 0 timeout 120 env "LD_PRELOAD=$preload" "CLOCK_JUMPS=$work/jump" CLOCK_AHEAD=700 "$train" --lorac "$work/hanging" --out "$work/hung"
says "no smaller program: it took longer than 600 s; lorac is not asked again by this run"
[[ $(wc -l <"$work/asked") == 1 ]] || fail "it was asked again"
for pid in $(cat "$work/pids"); do
  ! grep -qa sleep "/proc/$pid/cmdline" 2>/dev/null || fail "process $pid of the hanging compiler is still there"
done
same "$work/whole/adapter_config.json" "$work/hung/adapter_config.json"
grep -q "it took longer than 600 s" "$work/hung/manifest.json" || fail "the manifest does not say it"
ranks() { grep '"budget"' "$1/metrics.jsonl" | sed 's/.*"rank_pattern": \({[^}]*}\).*/\1/'; }
diff <(ranks "$work/whole") <(ranks "$work/hung") || fail "the ranks differ"
[[ $(ls "$LORAC_CACHE_DIR/programs" | wc -l) == 0 ]] || fail "left in the cache: $(ls "$LORAC_CACHE_DIR/programs")"

# A clock that stands for a build of nine minutes: it is waited for, and taken.
rm "$work/jump"
printf '#!/bin/bash\n[[ $2 == --probe ]] && exec %q "$@"\nsleep 0.5\ntouch %q\nexec %q "$@"\n' "$lorac" "$work/jump" "$lorac" >"$work/slow"
chmod +x "$work/slow"
expect 0 env "LD_PRELOAD=$preload" "CLOCK_JUMPS=$work/jump" CLOCK_AHEAD=540 "$train" --lorac "$work/slow" --out "$work/waited"
! grep -q "no smaller program" "$work/stderr" || fail "a build of nine minutes was given up"
same "$work/whole/adapter_model.safetensors" "$work/waited/adapter_model.safetensors"
