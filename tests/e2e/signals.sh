# Signals: those that ask to stop save and tell; more of them throw no save away; a step that was begun is as if it had not been;
# one that comes at any other moment is answered too. Resumed runs end with the bytes of one that was left alone.
source "$(dirname "$0")/common.sh"
cd "$source"
flags=(--set train.steps=60 --set train.save_steps=1000 --set train.gradient_accumulation_steps=4)
compiled tiny_lora "$work/generated" "${flags[@]}"
compiled tiny_lora "$work/long" "${flags[@]}" --set train.steps=2 --set train.gradient_accumulation_steps=300
compiled tiny_adalora "$work/adalora" --set 'adapter.target_modules=["q_proj", "v_proj"]' --set train.steps=40 \
  --set train.save_steps=1000 --set adapter.adalora.tinit=3 --set adapter.adalora.tfinal=12 --set adapter.adalora.deltaT=5
# Nine of ten samples are held out, so that an evaluation takes as long as many steps.
mkdir "$work/model"
cp tests/golden/tiny/tied/{config.json,model.safetensors} "$work/model/"
cp tests/golden/tokenizer/bytelevel.tokenizer.json "$work/model/tokenizer.json"
printf '[model]\nsource = "%s"\n[adapter]\nr = 4\n[[data]]\npath = "%s"\nformat = "text"\nseparator = "\\n\\n"\neval_fraction = 0.9
overlong = "split"\n[train]\nsteps = 8\nbatch_size = 4\nmax_length = 32\neval_steps = 4\nsave_steps = 4\n[target]\ndevice = "cpu"\n' \
  "$work/model" "$source/tests/fixtures/prose.md" >"$work/held.toml"
expect 0 "$lorac" train "$work/held.toml" --generated "$work/held" --threads 1 --out "$work/whole-held"
expect 0 "$work/generated/train" --threads 1 --out "$work/whole"
expect 0 "$work/adalora/train" --threads 1 --lorac "$lorac" --out "$work/whole-adalora"
expect 0 "$work/long/train" --threads 1 --out "$work/whole-long"
python3 "$(dirname "$0")/signals.py" "$work/generated/train" "$work/adalora/train" "$work/held/train" "$work/long/train" "$lorac" "$work" ||
  fail "a signal was answered wrongly"
