# One case for each exit code that lorac promises.
source "$(dirname "$0")/common.sh"
cd "$source"
spec=specs/tiny_lora.toml

expect 0 "$lorac" check "$spec"
prints "14 adapted modules"

# 1: failed in work
echo file >"$work/file"
expect 1 "$lorac" compile "$spec" -o "$work/file/below"
says "cannot create"

# 2: the command line
expect 2 "$lorac" check "$spec" --set adapter
expect 2 "$lorac" check "$spec" --frobnicate

# 3: spec or data refused, a file of somebody else in the way
mkdir "$work/full"
echo mine >"$work/full/notes.txt"
expect 3 "$lorac" compile "$spec" -o "$work/full"
says "holds 'notes.txt', which lorac did not write"
[[ $(ls "$work/full") == notes.txt ]] || fail "a folder that is not lorac's was changed"
expect 3 "$lorac" check specs/none.toml
expect 3 "$lorac" check "$spec" --set adapter.r=0
says "--set adapter.r=0"
printf '[adapter]\nr = 0\ntarget_modules = ["v_porj"]\n' >"$work/bad.toml"
expect 3 "$lorac" check "$work/bad.toml"
says "bad.toml:2:5: error"
expect 3 "$lorac" check "$work/bad.toml" --json
grep -q '"line": *2' "$work/stdout" || fail "no line in the JSON diagnostics"

# 4: does not fit
expect 4 "$lorac" plan "$spec" --set 'target.memory="16 KiB"'
says "more than memory = 16.0 KiB"
expect 4 "$lorac" compile "$spec" --set 'target.memory="16 KiB"' -o "$work/none"
[[ ! -e $work/none ]] || fail "a plan that does not fit was written"

# 5: a foreign file
head -c 100 /dev/zero >"$work/zero.gguf"
expect 5 "$lorac" check "$spec" --set "model.source=\"$work/zero.gguf\""
says "zero.gguf"
expect 5 "$lorac" tokenize --model "$work/zero.gguf"
mkdir "$work/half"
cp tests/golden/tiny/tied/lora_init/adapter_model.safetensors "$work/half/"
expect 5 "$lorac" export "$work/half" --format peft -o "$work/exported"
says "'$work/half' holds no adapter: it has no adapter_config.json"
expect 5 "$lorac" export "$work/full" --format peft -o "$work/exported"
says "'$work/full' holds no adapter: it has no adapter_config.json"
mkdir "$work/mixed"
cp tests/golden/tiny/untied/config.json tests/golden/tiny/tied/model.safetensors "$work/mixed/"
expect 5 "$lorac" check "$spec" --set "model.source=\"$work/mixed\"" --set 'model.shape={}'
says "tensor 'lm_head.weight' is absent"
