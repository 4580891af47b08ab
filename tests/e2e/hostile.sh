# Files and names that others sent: what is corrupt leaves nothing behind, and no name becomes a command or a path.
source "$(dirname "$0")/common.sh"
golden=$source/tests/golden/tiny/untied
cd "$source"

# A GGUF adapter that was cut short is not exported.
expect 0 "$lorac" export "$golden/lora_final" --format gguf --model "$golden" -o "$work/whole.gguf"
expect 0 "$lorac" export "$work/whole.gguf" --format peft --model "$golden" -o "$work/whole"
size=$(stat -c %s "$work/whole.gguf")
for left in 4 100 $((size / 2)) $((size - 100)); do
  head -c "$left" "$work/whole.gguf" >"$work/cut.gguf"
  expect 5 "$lorac" export "$work/cut.gguf" --format peft --model "$golden" -o "$work/none"
  says "cut.gguf"
  [[ ! -e $work/none ]] || fail "something was exported from a file of $left bytes"
done

# Code that a config.json names is reported and not run.
mkdir "$work/model"
cp "$golden/model.safetensors" "$work/model/"
sed '0,/{/s||{"auto_map": {"AutoModel": "evil.py"},|' "$golden/config.json" >"$work/model/config.json"
expect 0 "$lorac" check specs/tiny_lora.toml --set "model.source=\"$work/model\"" --set 'model.shape={}'
says "config.json has 'auto_map', which names code of the model's own: it is not run"

# A spec's name goes into paths, dumps, JSON and the model card.
name=$'q"; $(touch pwned) `touch pwned`\n#include'
mkdir "$work/names"
cp -r specs/data "$work/names/"
cp specs/tiny_lora.toml "$work/names/$name.toml"
cd "$work/names"
expect 0 "$lorac" compile "$name.toml" --set train.steps=2
expect 0 "generated/$name/train" --out out
[[ $(ls) == $'data\ngenerated\nout\n'* ]] || fail "other files: $(ls)"
[[ ! -e pwned && ! -e $source/pwned ]] || fail "a name was run as a command"
