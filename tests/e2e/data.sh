#!/usr/bin/env bash
# What is read as data, through the program: line ends, byte order marks, names, kinds, special tokens, labels, patterns.
source "$(dirname "$0")/common.sh"
cd "$work"
golden=$source/tests/golden
mkdir model
cp "$golden/tiny/tied/config.json" "$golden/tiny/tied/model.safetensors" model/
cp "$golden/tokenizer/bytelevel.tokenizer.json" model/tokenizer.json
printf '{"bos_token": "<|end|>", "eos_token": "<|end|>", "add_bos_token": false}' >model/tokenizer_config.json

# spec FILE LINE...: a spec whose [[data]] table has these lines.
spec() {
  local file=$1
  shift
  {
    printf '[model]\nsource = "%s/model"\n[adapter]\nr = 2\ntarget_modules = ["q_proj"]\n[[data]]\n' "$work"
    printf '%s\n' "$@"
    printf '[train]\noutput_dir = "%s/out"\nsteps = 1\nbatch_size = 2\nmax_length = 16\nsave_steps = 0\n[target]\ndevice = "cpu"\n' "$work"
  } >"$file"
}

printf 'the kernel\n%%\nthe buffers are\n%%\nhello\nworld\n' >lf.txt
sed 's/$/\r/' lf.txt >crlf.txt
tr '\n' '\r' <lf.txt >cr.txt
{ printf '\xef\xbb\xbf'; cat lf.txt; } >bom.txt
python3 -c "open('utf16.txt', 'wb').write(open('lf.txt').read().replace('\\n', '\\r\\n').encode('utf-16'))"

# One text however an editor has saved it: one program, the same losses.
spec t.toml 'name = "t"' "path = \"lf.txt\""
expect 0 "$lorac" compile t.toml -o t
expect 0 t/train --eval
cp stdout expected
says "data 't': 3 samples"
for name in crlf cr bom utf16; do
  expect 0 t/train --eval --data "t=$name.txt"
  same stdout expected
done
says "UTF-16 read as UTF-8"
for bytes in 'a\x00b\x00c\x00' '\xff\xfe\x00\x00a\x00\x00\x00'; do
  printf "$bytes" >wide.txt
  expect 3 t/train --eval --data t=wide.txt
  says "UTF-"
done
printf 'the kernel\nthe b\xfffers\n' >bad.txt
expect 3 t/train --eval --data t=bad.txt
says "bad.txt' is not UTF-8 at line 2, column 6: byte 0xff"
: >empty.txt
expect 3 t/train --eval --data t=empty.txt
says "empty.txt' is empty"
expect 3 t/train --eval --data t=model
says "'model' is a folder"
printf ' \n%%\n\n%%\n\t' >blank.txt
expect 3 t/train --eval --data t=blank.txt
says "3 samples of white space were left out"

# The format follows the name.
printf '{"text": "the kernel"}\r\n{"text": "the buffers are"}\r\n{"text": "hello\\nworld\\n"}\r\n' >rows.jsonl
expect 0 t/train --eval --data t=rows.jsonl
same stdout expected
spec rows.toml 'path = "rows.jsonl"'
expect 0 "$lorac" check rows.toml
prints "3 samples"
for name in rows.json rows.csv rows.parquet rows.txt.gz rows.HTML; do
  cp lf.txt "$name"
  spec named.toml "path = \"$name\""
  expect 3 "$lorac" check named.toml
  says "named.toml:7:8: error: '$name' ends with '"
  expect 3 t/train --eval --data "t=$name"
  says "is no format that is read here"
done
spec named.toml 'path = "rows.csv"' 'format = "text"'
expect 0 "$lorac" check named.toml
spec named.toml 'path = ["rows.jsonl", "lf.txt"]'
expect 3 "$lorac" check named.toml
says "the files' names say two formats"

# Where the text looks like something else, or the separator is nowhere, that is said with a sample.
cp rows.jsonl rows.txt
spec looks.toml 'path = "rows.txt"' 'separator = "\n"'
expect 0 "$lorac" check looks.toml
says 'looks like JSON'
says '{"text": "the kernel"}'
spec looks.toml 'path = "rows.txt"' 'separator = "\n"' 'format = "text"'
expect 0 "$lorac" check looks.toml
! grep -q "looks like" stderr || fail "what was asked for is doubted"
printf 'the kernel\n\nthe buffers\n' >one.txt
spec one.toml 'path = "one.txt"'
expect 0 "$lorac" check one.toml
says "one.toml:7:8: warning: data 'data': the whole of '"
says 'is 1 sample, since the separator "\n%\n" does not occur in it; it begins with "the kernel'
printf 'PK\x03\x04 docx' >doc.txt
spec doc.toml 'path = "doc.txt"'
expect 3 "$lorac" check doc.toml
says "is a zip archive (docx"

# Rows that are no JSON have line and column.
printf '{"text": "the"}\n{"text": "kernel", "score": NaN}\n' >nan.jsonl
expect 3 t/train --eval --data t=nan.jsonl
says "nan.jsonl', line 2, column 29: not JSON; 'NaN' is no value of JSON"
printf '{"text": null}\n' >null.jsonl
expect 3 t/train --eval --data t=null.jsonl
says "line 1: needs an object with the string \"text\"; its \"text\" is null"

# Special tokens that the text brings are not set a second time; what a cut takes away is counted.
printf '<|end|>the kernel<|end|>\n%%\nthe kernel\n' >own.txt
printf '{"bos_token": "<|end|>", "eos_token": "<|end|>", "add_bos_token": true}' >model/tokenizer_config.json
spec own.toml 'path = "own.txt"' 'eval_fraction = 0'
expect 0 "$lorac" check own.toml
prints "1 with a bos of their own, which stays the only one"
prints "1 with an eos of their own, which stays the only one"
prints "with bos and eos"
printf '{"bos_token": "<|end|>", "eos_token": "<|end|>", "add_bos_token": false}' >model/tokenizer_config.json
printf 'the kernel the kernel the kernel the kernel the kernel\n%%\nthe\n' >long.txt
spec long.toml 'path = "long.txt"' 'overlong = "truncate"'
expect 0 "$lorac" check long.toml
prints "1 cut to 16 tokens, which leaves out "

# Nothing held out: eval_steps is told to have no effect.
spec held.toml 'path = "lf.txt"' 'eval_fraction = 0'
sed -i 's/^save_steps/eval_steps = 5\nsave_steps/' held.toml
expect 0 "$lorac" check held.toml
says "held.toml:14:14: warning: 'train.eval_steps' has no effect: nothing is held out"

# Only what was written is a pattern; a file of that name comes first.
mkdir 'br[a]cket'
cp lf.txt 'br[a]cket/a.txt'
cp crlf.txt 'br[a]cket/[x].txt'
spec 'br[a]cket/p.toml' 'path = "a*.txt"'
spec 'br[a]cket/q.toml' 'path = "[x].txt"'
spec 'br[a]cket/r.toml' 'path = "a.txt"'
for name in p q r; do
  expect 0 "$lorac" check "br[a]cket/$name.toml"
  prints "3 samples"
done
expect 0 "$lorac" train "br[a]cket/p.toml" --out out-p
expect 0 "$lorac" check out-p/spec.toml

# Labels: none at all is refused before the first step, with counts; so is a run that met none.
python3 - <<'PY'
import json, struct
def save(path, labels):
    ids = [[[3 + (i * 7 + r) % 90 for i in range(8)] for r in range(2)] for _ in range(2)]
    def flat(grid): return b"".join(struct.pack("<i", v) for a in grid for b in a for v in b)
    body = flat(ids) + flat(labels)
    header = {"input_ids": {"dtype": "I32", "shape": [2, 2, 8], "data_offsets": [0, 128]}, "labels": {"dtype": "I32", "shape": [2, 2, 8], "data_offsets": [128, 256]}}
    text = json.dumps(header).encode(); text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)
none = [[[-100] * 8 for _ in range(2)] for _ in range(2)]
save("none.safetensors", none)
late = json.loads(json.dumps(none)); late[1][0][3] = 9
save("late.safetensors", late)
PY
spec none.toml 'path = "none.safetensors"'
for command in check train eval; do
  expect 3 "$lorac" $command none.toml
  says "has no label: all 32 labels of its 4 samples are -100"
done
[[ ! -e out/adapter_model.safetensors ]] || fail "an adapter of nothing was written"
spec late.toml 'path = "late.safetensors"'
for command in check train; do
  expect 3 "$lorac" $command late.toml
  says "none of the 1 steps has a token with a label: nothing would be trained"
done
[[ ! -e out/checkpoint-1 ]] || fail "a checkpoint of nothing was written"
expect 0 "$lorac" check late.toml --set train.steps=2
expect 3 "$lorac" eval late.toml --samples 2
says "none of the 2 samples has a label"
# Batches of tokens: a mask beside ids and labels is not passed over.
python3 - <<'PY'
import json, struct
tensors = {"input_ids": [5] * 32, "attention_mask": [1] * 28 + [0] * 4}
header, body = {}, b""
for name, values in tensors.items():
    header[name] = {"dtype": "I32", "shape": [2, 2, 8], "data_offsets": [len(body), len(body) + 128]}
    body += struct.pack("<32i", *values)
text = json.dumps(header).encode(); text += b" " * (-len(text) % 8)
open("masked.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body)
PY
spec masked.toml 'path = "masked.safetensors"'
expect 3 "$lorac" check masked.toml
says "has a tensor 'attention_mask', which is not read: set labels to -100"

# Steps are of the file's batches, whatever the spec says.
expect 0 "$lorac" train late.toml --set train.steps=2 --set train.batch_size=4 --out out-late
says "batches have 2 rows, as the file of tokens has them, and not train.batch_size = 4"

# Without an eos no sample has an end.
cp -a model endless && printf '{"add_bos_token": false}' >endless/tokenizer_config.json
spec endless.toml 'path = "lf.txt"'
for command in check "train --out out-endless"; do
  expect 0 "$lorac" $command endless.toml --set "model.source=$work/endless"
  says "the tokenizer names no eos_token, so no sample has an end"
done

# One file twice, also by another name: said.
printf 'one\n\ntwo\n\nthree\n' >'br[a]cket/abc.txt'
spec twice.toml 'path = ["br[a]cket/abc.txt", "also.txt"]' 'eval_fraction = 0.5'
ln -s 'br[a]cket/abc.txt' also.txt
expect 0 "$lorac" check twice.toml
says "also.txt' is named twice: each of its samples is there twice, and one that is held out may be trained on too"

# A number that is JSON and no double has a column.
printf '{"text": "a word"}\n{"text": "more", "score": 1e999}\n' >beyond.jsonl
spec beyond.toml 'path = "beyond.jsonl"'
expect 3 "$lorac" check beyond.toml
says "line 2, column 27: a number that no float64 holds"
