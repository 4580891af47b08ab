# Words are never worth a run: however and whenever stderr is lost, training ends with 0 and with the same bytes.
source "$(dirname "$0")/common.sh"
compiled tiny_lora "$work/generated" --set train.steps=60 --set train.save_steps=20
train=$work/generated/train
expect 0 "$train" --threads 1 --out "$work/whole"
python3 "$(dirname "$0")/words.py" "$train" "$work" || fail "a run was ended by its words"

# The same through lorac, whose own words come first: `| head`, and a closed stderr that no file is given.
cd "$source"
flags=(specs/tiny_lora.toml --threads 1 --set train.steps=60 --set train.save_steps=20 --generated "$work/again")
bash -c '"$@" 2>&1; echo $? >"$0"' "$work/code" "$lorac" train "${flags[@]}" --out "$work/headed" | head -1 >/dev/null
[[ $(cat "$work/code") == 0 ]] || fail "'lorac train | head' ended with $(cat "$work/code")"
same "$work/whole/adapter_model.safetensors" "$work/headed/adapter_model.safetensors"
"$lorac" train "${flags[@]}" --out "$work/closed" 0<&- 2>&- || fail "'lorac train 2>&-' ended with $?"
same "$work/whole/adapter_model.safetensors" "$work/closed/adapter_model.safetensors"
grep -rlaE "^(step [0-9]+/|compiled )" "$work/closed" "$work/again" && fail "words were written into a file of the run"

# An error is still an error, and its code is told where its words are not.
code=0
"$train" --model /nowhere --out "$work/none" 2>&- || code=$?
[[ $code != 0 && $code != 70 ]] || fail "an error without stderr ended with $code"
# What goes to stdout is a result: losing it is told.
for lost in ">/dev/full" ">&-"; do
  code=0
  bash -c "'$train' --help $lost" 2>"$work/stderr" || code=$?
  [[ $code == 1 ]] || fail "help that cannot be printed ($lost) ended with $code"
  says "cannot write to stdout"
done
