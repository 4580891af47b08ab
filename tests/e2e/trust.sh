# Whose programs are run: a cache, an entry or a compiler that another user owns or can write is refused; files obey the umask; a
# compiler that takes memory without end is stopped.
source "$(dirname "$0")/common.sh"
cd "$source"
ownKernels
unset LORAC
# One layer with one adapted module: few kernels.
shape='model.shape={ layers = 1, hidden_size = 64, intermediate_size = 64, n_heads = 4, n_kv_heads = 4, head_dim = 16, vocab_size = 512, rms_norm_eps = 1e-5, max_position_embeddings = 256 }'
flags=(--set "$shape" --set 'adapter.target_modules=["q_proj"]' --set train.steps=24 --set train.save_steps=1000
  --set adapter.adalora.tinit=3 --set adapter.adalora.tfinal=10 --set adapter.adalora.deltaT=5)
mode() { stat -c %a "$1"; }

# The umask is obeyed: by what is compiled, by the cache, by a run.
(umask 002 && compiled tiny_adalora "$work/generated" "${flags[@]}")
[[ $(mode "$work/generated/train") == 775 ]] || fail "under umask 002 train is $(mode "$work/generated/train")"
train=$work/generated/train
(umask 002 && expect 0 "$train" --lorac "$lorac" --out "$work/whole")
[[ $(mode "$LORAC_CACHE_DIR/kernels") == 700 && $(mode "$LORAC_CACHE_DIR/programs") == 700 ]] || fail "the cache is open to others"
[[ -z $(find "$LORAC_CACHE_DIR" -type f -perm /077) ]] || fail "entries of the cache are open to others"
[[ -n $(find "$LORAC_CACHE_DIR" -name '*.program') ]] || fail "no program was built"
cp -r "$LORAC_CACHE_DIR" "$work/good"
(umask 077 && compiled tiny_adalora "$work/private" "${flags[@]}")
[[ $(mode "$work/private/train") == 700 ]] || fail "under umask 077 train is $(mode "$work/private/train")"

# again TEXT: a run that says TEXT and whose ranks are those of the undisturbed one.
again() {
  expect 0 "$train" --lorac "$lorac" --out "$work/again" --overwrite
  says "$1"
  same "$work/whole/adapter_config.json" "$work/again/adapter_config.json"
}
restore() { rm -rf "$LORAC_CACHE_DIR" && cp -a "$work/good" "$LORAC_CACHE_DIR"; }
chmod -R go-w "$work/good"

# A folder or an entry that all may write to; an entry that is a link: not used, and made again where that is possible.
for folder in "" /programs; do
  restore
  chmod 777 "$LORAC_CACHE_DIR$folder"
  again "no smaller program: '$LORAC_CACHE_DIR$folder' can be written by all users, who could put programs there; LORAC_CACHE_DIR names another folder"
done
restore
chmod 666 "$LORAC_CACHE_DIR"/programs/*
again " kernels built, "
[[ -z $(find "$LORAC_CACHE_DIR/programs" -type f -perm /077) ]] || fail "an entry that others can write was kept"
restore
for program in "$LORAC_CACHE_DIR"/programs/*; do
  mv "$program" "$work/$(basename "$program")"
  ln -s "$work/$(basename "$program")" "$program"
done
again " kernels built, "
[[ -z $(find "$LORAC_CACHE_DIR/programs" -type l) ]] || fail "a link in the cache was kept"
# Kernels: the compile goes on without them.
restore
chmod 777 "$LORAC_CACHE_DIR/kernels"
compiled tiny_adalora "$work/open" "${flags[@]}"
says "compiled kernels are not kept: '$LORAC_CACHE_DIR/kernels' can be written by all users"
says ", 0 from the cache"
[[ $(grep -c "not kept" "$work/stderr") == 1 ]] || fail "it is not said once"
restore
compiled tiny_adalora "$work/open" "${flags[@]}"
says "kernels: 0 compiled"
chmod 666 "$LORAC_CACHE_DIR"/kernels/*
compiled tiny_adalora "$work/open" "${flags[@]}"
says ", 0 from the cache"

# The compiler.
cp "$lorac" "$work/lorac"
cp "$build/lorac-train" "$work/"
chmod o+w "$work/lorac"
expect 3 "$train" --lorac "$work/lorac" --out "$work/none"
says "'$work/lorac' (--lorac) is not asked for programs: '$work/lorac' can be written by all users"
chmod 755 "$work/lorac"
mkdir "$work/open-bin"
mv "$work/lorac" "$work/open-bin/"
chmod 777 "$work/open-bin"
ln -s "$work/open-bin/lorac" "$work/linked"
expect 3 env "LORAC=$work/linked" "$train" --out "$work/none"
says "'$work/linked' (\$LORAC) is not asked for programs: '$work/open-bin' can be written by all users"
chmod 755 "$work/open-bin"

if [[ $(id -u) == 0 ]]; then
  restore
  chown -R 65534 "$LORAC_CACHE_DIR/programs"
  again "no smaller program: '$LORAC_CACHE_DIR/programs' belongs to user 65534, who could put programs there"
  restore
  chown 65534 "$LORAC_CACHE_DIR"/programs/*
  again " kernels built, "
  restore
  chown 65534 "$LORAC_CACHE_DIR"/kernels
  compiled tiny_adalora "$work/open" "${flags[@]}"
  says "'$LORAC_CACHE_DIR/kernels' belongs to user 65534"
  chown 65534 "$work/open-bin/lorac"
  expect 3 "$train" --lorac "$work/open-bin/lorac" --out "$work/none"
  says "belongs to user 65534"
else
  echo "not root: files of other users are not tried"
fi

# A compiler that takes memory without end gets none, and the run goes on.
restore
rm -rf "$LORAC_CACHE_DIR/programs"
printf '#!/bin/bash\n[[ $2 == --probe ]] && exec %q "$@"\nexec python3 -c "bytearray(1 << 42)"\n' "$lorac" >"$work/greedy"
chmod 755 "$work/greedy"
expect 0 "$train" --lorac "$work/greedy" --out "$work/greedy.out"
says "no smaller program: lorac ended with code 1: MemoryError"
same "$work/whole/adapter_config.json" "$work/greedy.out/adapter_config.json"

# A disk that cannot sync what was compiled is an error, the first, the last or one between.
if command -v strace >/dev/null; then
  restore
  compiled tiny_adalora "$work/synced" "${flags[@]}"
  strace -f -qq -o "$work/syncs" -e trace=fsync "$lorac" compile specs/tiny_adalora.toml -o "$work/synced" "${flags[@]}" 2>/dev/null
  syncs=$(grep -c "fsync(" "$work/syncs")
  ((syncs >= 3)) || fail "compile syncs only $syncs times"
  for n in 1 2 $((syncs / 2)) $((syncs - 1)) "$syncs"; do
    expect 1 strace -f -qq -o /dev/null -e trace=fsync -e inject=fsync:error=EIO:when=$n \
      "$lorac" compile specs/tiny_adalora.toml -o "$work/synced" "${flags[@]}"
    says "Input/output error"
  done
fi
