# Formats with answers: what of a sample is trained, by the goldens; broken rows, by file and line; the loss is the answer's alone.
source "$(dirname "$0")/common.sh"
cd "$work"
golden=$source/tests/golden
mkdir model
sed 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 1024/' "$golden/tiny/tied/config.json" >model/config.json
cp "$golden/tiny/tied/model.safetensors" model/
cp "$golden/tokenizer/bytelevel.tokenizer.json" model/tokenizer.json
printf '{"eos_token": "<|end|>"}' >model/tokenizer_config.json
cat >s.toml <<'TOML'
[model]
source = "model"
[adapter]
r = 2
target_modules = ["q_proj"]
[[data]]
path = "a.jsonl"
format = "prompt-completion"
eval_fraction = 0
[train]
output_dir = "out"
steps = 2
batch_size = 2
max_length = 640
packing = false
[schedule]
name = "constant"
[target]
device = "cpu"
TOML
printf '{"prompt": "the ker", "completion": "nel"}\n{"prompt": "", "completion": "rows"}\n{"prompt": "é", "completion": ""}\n' >a.jsonl
printf '{"prompt": "unseen unseen unseen unseen, ", "completion": "the rows are read"}\n' >>a.jsonl

printf '{"question": "1+1?", "answer": "2", "source": 3}\n{"question": "é?", "answer": "\\nno"}\n' >qa.jsonl
(echo '['; sed '1s/$/,/' qa.jsonl; echo ']') >qa.json

expect 0 "$lorac" check s.toml --samples 4
prints "a.jsonl, line 1: "
prints "  | the ker"
prints "  > nel"
expect 0 python3 "$source/tests/e2e/formats.py" "$lorac" "$golden"
cat "$work/stdout"

# A sample whose answer is cut off trains nothing: it is left out, and counted.
expect 0 "$lorac" check s.toml --set train.max_length=8 --set data.overlong=truncate
prints "1 piece without a label left out"
# Without its prompt an answer is learned from nothing: said. A sample that is left out does not count among those of which some are held out.
expect 0 "$lorac" check s.toml --set train.max_length=16
says "split at train.max_length = 16, so that answers may be trained without their prompt"
printf '{"prompt": "unseen unseen unseen unseen", "completion": "x"}\n{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n' >two.jsonl
expect 0 "$lorac" check s.toml --set data.path=two.jsonl --set data.eval_fraction=0.5 --set train.max_length=8 --set data.overlong=truncate
prints "1 samples held out"
# A list in UTF-16 is one, with its places; a key that comes twice in an object of a list is refused there.
printf '[\n {"prompt": "é", "completion": "c"},\n {"prompt": "p", "completion": "d"}\n]\n' >list.json
iconv -f UTF-8 -t UTF-16 list.json >wide.json
for file in list wide; do
  expect 0 "$lorac" check s.toml --samples 2 --set "data.path=$file.json"
  prints "$file.json, row 2: "
done
for row in '"completion": "d", "completion": "e"' '"completion": "d", "completion": null'; do
  printf '[{"prompt": "p", "completion": "c"}, {"prompt": "p", %s}]' "$row" >twice.json
  expect 3 "$lorac" check s.toml --set data.path=twice.json
  says 'row 2: has the key "completion" twice'
done
printf '{"instruction": "i", "input": "x", "input": null, "output": "o"}\n' >twice.jsonl
expect 3 "$lorac" check s.toml --set data.path=twice.jsonl --set data.format=alpaca
says 'line 1: has the key "input" twice'
# Prompts that end within a token: as fast as others.
python3 - <<'PYTHON'
import json
with open("long.jsonl", "w") as file:
    for _ in range(20):
        file.write(json.dumps({"prompt": "unseen kernels read rows, " * 1000 + "the ker", "completion": "nel"}) + "\n")
PYTHON
expect 0 timeout 60 "$lorac" check s.toml --set data.path=long.jsonl --set train.max_length=1024
# What other tools write, with the mend.
printf '{"prompt": "p", "completion": "c"}\n' >plain.jsonl
expect 3 "$lorac" check s.toml --set data.path=plain.jsonl --set data.format=jsonl
says 'plain.jsonl'"'"', line 1: needs an object with the string "text"; it has "prompt", "completion"; format = "prompt-completion" reads such rows'
printf '{"question": "q", "answer": 7}\n' >number.jsonl
expect 3 "$lorac" check s.toml --set data.path=number.jsonl --set data.format=question-answer
says 'line 1: needs an object with the strings "question" and "answer"; its "answer" is number'
printf '{"question": "q", "response": "a"}\n' >other.jsonl
expect 3 "$lorac" check s.toml --set data.path=other.jsonl --set data.format=question-answer
says 'it has no "answer" but "question", "response"'

# Training goes on over a checkpoint; another answer is another data set.
expect 0 "$lorac" train s.toml --generated gen --steps 1
expect 0 gen/train --out out --resume --steps 2
