# A gradient that is exactly 0 teaches nothing: after three such steps in a row it is said, once, and the run goes on.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden/tiny

# An adapter of zeros: B's gradient has A as a factor, and A's has B.
python3 - "$golden/tied/lora_init" "$work/zeros" <<'P'
import pathlib, shutil, struct, sys
source, out = map(pathlib.Path, sys.argv[1:])
out.mkdir()
shutil.copy(source / "adapter_config.json", out)
raw = (source / "adapter_model.safetensors").read_bytes()
head = 8 + struct.unpack("<Q", raw[:8])[0]
(out / "adapter_model.safetensors").write_bytes(raw[:head] + bytes(len(raw) - head))
P
# spec FILE STEPS [ADAPTER-LINE...]
spec() {
  {
    printf '[model]\nsource = "%s/tied"\n[adapter]\nr = 4\nlora_alpha = 8\n' "$golden"
    printf '%s\n' "${@:3}"
    printf '[schedule]\nname = "constant"\n'
    printf '[[data]]\npath = "%s/train_data.safetensors"\n' "$golden"
    printf '[train]\noutput_dir = "%s/out"\nsteps = %d\nbatch_size = 2\nmax_length = 24\nsave_steps = 0\n[target]\ndevice = "cpu"\n' "$work" "$2"
  } >"$1"
}
# norms TIMES STEPS: the last run said it so often, and ended with so many steps whose gradient is 0.
warning="the gradient has been exactly 0 for 3 steps, so nothing is learned"
norms() {
  [[ $(grep -c "$warning" "$work/stderr") == "$1" ]] || { cat "$work/stderr" >&2; fail "not said $1 times"; }
  [[ $(metric grad_norm "$work/out/metrics.jsonl" | grep -cx 0) == "$2" ]] || fail "not $2 steps of gradient 0"
}

spec "$work/zeros.toml" 8 "init_from = \"$work/zeros\""
expect 0 "$lorac" compile "$work/zeros.toml" -o "$work/zeros.g"
expect 0 "$work/zeros.g/train"
says "warning: step 3: $warning; lower optimizer.learning_rate or look at the data"
norms 1 8
# Two such steps are no sign, and the third that follows a resume is none either: it counts anew.
expect 0 "$work/zeros.g/train" --overwrite --steps 2
norms 0 2
expect 0 "$work/zeros.g/train" --resume --steps 4
norms 0 4
expect 0 "$work/zeros.g/train" --resume --steps 8
says "warning: step 7: $warning"
norms 1 8
# An adapter that begins as usual: never.
spec "$work/usual.toml" 8
expect 0 "$lorac" train "$work/usual.toml" --generated "$work/usual.g" --overwrite
norms 0 0
