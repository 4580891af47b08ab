# before.sh BUILD SOURCE SPEC: what the state before wrote stays good (tests/fixtures/README.md): a spec's adapter has the bytes that it
# had, a checkpoint of then goes on to the same bytes, an adapter of then answers as it did.
source "$(dirname "$0")/common.sh"
spec=$3
cd "$source"
before=tests/fixtures/before
cpus=x86-64
has() { grep -qw "$1" /proc/cpuinfo; }
if has avx2 && has bmi2 && has fma; then cpus+=" x86-64-v3"; fi

# hash NAME: what adapters.txt says of it. is FILE NAME: the file has that hash.
hash() { awk -v name="$1" '$2 == name { print $1 }' "$before/adapters.txt"; }
is() {
  local found wanted
  found=$(sha256sum <"$1" | cut -d' ' -f1)
  wanted=$(hash "$2")
  [[ -n $wanted && $found == "$wanted" ]] || fail "'$1' has hash $found, $before/adapters.txt says '$wanted' of $2"
}

for cpu in $cpus; do
  compiled "$spec" "$work/$cpu" --cpu "$cpu"
  expect 0 "$work/$cpu/train" --out "$work/$cpu.out" --quiet --lorac "$lorac"
  is "$work/$cpu.out/adapter_model.safetensors" "$cpu/$spec"
done

# A run that was begun then.
if [[ -d $before/$spec ]]; then
  train=$work/x86-64/train resumed=x86-64/$spec
  if [[ -e $before/$spec/flags ]]; then
    mapfile -t flags <"$before/$spec/flags"
    compiled "$spec" "$work/flags" --cpu x86-64 "${flags[@]}"
    train=$work/flags/train resumed=$resumed/flags
  fi
  mkdir "$work/run"
  cp -r "$before/$spec"/checkpoint-* "$work/run/"
  expect 0 "$train" --out "$work/run" --resume --quiet --lorac "$lorac"
  is "$work/run/adapter_model.safetensors" "$resumed"
  expect 0 "$lorac" verify "$work/run"
fi

if [[ $spec == tiny_lora ]]; then
  # A checkpoint of another format: by number, and nothing is touched.
  mkdir "$work/later"
  cp -r "$before/$spec"/checkpoint-10 "$work/later/"
  cp "$before/trainer_state.format-2.json" "$work/later/checkpoint-10/trainer_state.json"
  state=$(cd "$work/later" && find . -type f -exec sha256sum {} + | sort)
  expect 5 "$work/x86-64/train" --out "$work/later" --resume
  says "checkpoint '$work/later/checkpoint-10' has the format 2, this version reads format 1; resume with the lorac that wrote it"
  [[ $(cd "$work/later" && find . -type f -exec sha256sum {} + | sort) == "$state" ]] || fail "a checkpoint of another format was touched"
fi

if [[ $spec == tiny_rslora ]]; then
  # An adapter of then: it answers as it did, and a run begins with it.
  expect 0 "$work/x86-64/train" --eval --samples 4 --adapter "$before/adapter"
  diff "$before/adapter.eval.txt" "$work/stdout" || fail "an adapter of the state before answers otherwise"
  compiled "$spec" "$work/from" --cpu x86-64 --set "adapter.init_from=\"$source/$before/adapter\"" --set train.steps=2
  expect 0 "$work/from/train" --out "$work/from.out" --quiet
fi
