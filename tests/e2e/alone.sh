# The generated binary, copied alone to an empty folder, with nothing in the environment, trains and resumes.
source "$(dirname "$0")/common.sh"
golden=$source/tests/golden/tiny
cd "$source"
expect 0 "$lorac" compile specs/tiny_lora.toml -o "$work/generated" --set "model.source=\"$golden/untied\"" \
  --set train.steps=6 --set train.save_steps=3
mkdir "$work/alone" "$work/model"
cp "$work/generated/train" "$work/alone/"
cp "$golden/untied/config.json" "$golden/untied/model.safetensors" "$work/model/"
cp "$golden/train_data.safetensors" "$work/data.safetensors"
rm -r "$work/generated"

if command -v ldd >/dev/null; then
  extra=$(ldd "$work/alone/train" | grep -vE 'linux-vdso|ld-linux|lib(c|m|dl|pthread|rt)\.so' || true)
  [[ -z $extra ]] || fail "it needs more than libc: $extra"
fi
cd "$work/alone"
run() { expect "$1" env -i PATH= ./train --model "$work/model" --data "tokens=$work/data.safetensors" "${@:2}"; }
run 0 --out whole
run 0 --out cut --steps 3
run 0 --out cut --resume
same whole/adapter_model.safetensors cut/adapter_model.safetensors
