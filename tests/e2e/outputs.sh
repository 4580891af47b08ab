# Files that the command line names as outputs: nothing of another kind is replaced, no link is followed.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden/tiny/untied
compiled tiny_lora "$work/g" --set train.steps=2 --set train.save_steps=0
train="$work/g/train --threads 1"
cd "$work"
expect 0 $train --out run

# kept FILE CODE TEXT COMMAND...
kept() {
  local file=$1 code=$2 text=$3 before
  shift 3
  before=$(stat -c '%F %s %i' "$file"; sha1sum "$file")
  expect "$code" "$@"
  says "$text"
  [[ $(stat -c '%F %s %i' "$file"; sha1sum "$file") == "$before" ]] || fail "'$file' was changed by: $*"
}
echo "my notes" >notes.txt
ln -s notes.txt link
for flag in --metrics --profile; do
  kept notes.txt 2 "$flag 'notes.txt' is there and" $train --out t $flag notes.txt
  kept link 2 "$flag 'link' is a link" $train --out t $flag link
  expect 2 $train --out t $flag run
done
kept notes.txt 2 "--logits 'notes.txt' is there and holds no logits" "$work/g/train" --eval --logits notes.txt
kept link 2 "is a link" "$work/g/train" --eval --logits link
kept run/adapter_model.safetensors 2 "holds no logits" "$work/g/train" --eval --logits run/adapter_model.safetensors
mkfifo pipe
kept link 2 "--profile 'pipe' is no regular file" $train --out t --profile pipe
kept link 2 "--logits 'pipe' is no regular file" "$work/g/train" --eval --logits pipe
[[ ! -e t ]] || fail "an output folder was made"
# One's own are replaced; what is absent or empty is taken; a device is written to.
: >empty.jsonl
for _ in 1 2; do
  expect 0 $train --out t --overwrite --metrics empty.jsonl --profile profile.json
  expect 0 "$work/g/train" --eval --logits logits.safetensors
done
[[ $(wc -l <empty.jsonl) == $(wc -l <t/metrics.jsonl) ]] || fail "other metrics"
expect 0 $train --out t --overwrite --metrics /dev/null
$train --out t --overwrite --quiet --metrics /dev/stdout | grep '"loss"' >/dev/null || fail "no metrics on stdout"
kept t/metrics.jsonl 2 "is the run's own metrics.jsonl" $train --out t --overwrite --metrics t/metrics.jsonl
# A run that begins empties no metrics, whoever wrote them; one that is replaced has its own again.
kept empty.jsonl 2 "--metrics 'empty.jsonl' is there and is not empty" $train --out u --metrics empty.jsonl
printf '{"step": 1, "text": "first"}\n{"step": 2, "text": "then"}\n' >rows.jsonl
printf '{"step": 1, "loss": 2.5, "run": "older"}\n' >other.jsonl
for how in "" --overwrite --resume; do
  for rows in rows.jsonl other.jsonl; do
    kept $rows 2 "--metrics '$rows' is there and" $train --out u --metrics $rows $how
  done
  kept run/metrics.jsonl 2 "--metrics 'run/metrics.jsonl' is " $train --out u --metrics run/metrics.jsonl $how
done
expect 2 $train --out u --metrics both.json --profile ./both.json
says "are both"
[[ ! -e u && ! -e both.json ]] || fail "something was written"
# In the output folder too: another tool's lines are not a run's.
for how in --resume --overwrite ""; do
  mkdir -p w && cp other.jsonl w/metrics.jsonl
  kept w/metrics.jsonl 3 "which lorac did not write" $train --out w $how
done
# A program's folder is no run's, and it can be compiled to again.
kept g/plan.md 2 "is where a program is compiled to" $train --out g
kept g/plan.md 2 "is where a program is compiled to" $train --out g --resume
compile="$lorac compile specs/tiny_lora.toml --set train.steps=2 --set train.save_steps=0"
(cd "$source" && $compile -o "$work/g" >/dev/null) || fail "cannot be compiled to again"
# A link to a program's folder stays a link; one to nothing is refused.
ln -s g to-g && ln -s nowhere to-nothing
(cd "$source" && $compile -o "$work/to-g" >/dev/null) || fail "a link to a folder is not followed"
[[ -L to-g && -x g/train ]] || fail "the link was replaced"
(cd "$source" && expect 3 $compile -o "$work/to-nothing" && says "is a link to nothing")
[[ -L to-nothing ]] || fail "the link was replaced"
rm to-g to-nothing
# What lorac did not write there, or not so, is nobody's to remove.
mkdir -p data/train book && echo x >data/train/a.txt && echo one >book/01-intro.md
cp -a g mine && echo "my words" >>mine/plan.md
cp -a g more && mkdir more/kernels/mine && echo x >more/kernels/mine/notes
cp -a g before && rm before/manifest.json
cp -a run finished
cd "$source"
kept "$work/data/train/a.txt" 3 "holds 'train', which no manifest.json lists" $compile -o "$work/data"
kept "$work/book/01-intro.md" 3 "holds '01-intro.md', which no manifest.json lists" $compile -o "$work/book"
kept "$work/mine/plan.md" 3 "holds 'plan.md', which was changed since lorac wrote it" $compile -o "$work/mine"
kept "$work/more/kernels/mine/notes" 3 "holds 'kernels/mine', which lorac did not write" $compile -o "$work/more"
kept "$work/before/plan.md" 3 "which no manifest.json lists" $compile -o "$work/before"
kept "$work/finished/README.md" 3 "which lorac did not write" $compile -o "$work/finished"
cd "$work"
rm -r data book mine more before finished w rows.jsonl other.jsonl
# A program.
echo '{}' >ranks.json
kept notes.txt 2 "--out 'notes.txt' is there and is no program" "$lorac" recompile "$work/g/train" --ranks ranks.json -o notes.txt

# export: nothing that is there is replaced without --force, and with it an adapter by an adapter.
export_gguf="$lorac export $golden/lora_final --format gguf --model $golden"
export_peft="$lorac export $golden/lora_final --format peft"
expect 0 $export_gguf -o adapter.gguf
kept adapter.gguf 2 "'adapter.gguf' is there already; --force" $export_gguf -o adapter.gguf
expect 0 $export_gguf -o adapter.gguf --force
python3 - <<'P'
import struct
def text(s): return struct.pack("<Q", len(s)) + s
key = lambda name, value: text(name) + struct.pack("<I", 8) + text(value)
open("model.gguf", "wb").write(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + key(b"general.architecture", b"llama") +
                               key(b"general.type", b"model"))
P
for victim in model.gguf notes.txt link run/adapter_model.safetensors; do
  kept $victim 3 "'$victim' is no GGUF adapter" $export_gguf -o $victim --force
done
expect 3 $export_gguf -o run --force
expect 0 $export_peft -o peft
[[ $(ls peft | tr '\n' ' ') == "adapter_config.json adapter_model.safetensors manifest.json " ]] || fail "other files: $(ls peft)"
expect 0 "$lorac" verify peft
kept peft/adapter_config.json 2 "'peft' is there already; --force" $export_peft -o peft
expect 0 $export_peft -o peft --force
kept notes.txt 3 "is no folder with an adapter" $export_peft -o notes.txt --force
cp -r "$golden/lora_final" theirs # another program's two files
expect 2 $export_peft -o theirs
rm -f theirs/README.md
expect 0 $export_peft -o theirs --force
echo mine >peft/notes.txt
kept peft/notes.txt 3 "holds 'notes.txt', which an export does not write" $export_peft -o peft --force
rm peft/notes.txt
echo >>peft/adapter_config.json
kept peft/adapter_config.json 3 "not as lorac wrote it" $export_peft -o peft --force
kept run/README.md 3 "which an export does not write" $export_peft -o run --force
mkdir nothing
expect 0 $export_peft -o nothing

# What a process that is gone left beside an export or a compiled folder goes with the next one; what is not lorac's stays.
true & gone=$!
wait $gone
touch again.gguf.tmp-$gone-0 again.gguf.tmp-mine other.gguf.tmp-$gone-0
mkdir g.part.$gone && cp g/manifest.json g/plan.json g.part.$gone/
mkdir g.part.1$gone && touch g.part.1$gone/mine
mkdir g.part.2$gone && touch g.part.2$gone/plan.json
expect 0 $export_gguf -o again.gguf
[[ ! -e again.gguf.tmp-$gone-0 && -e again.gguf.tmp-mine && -e other.gguf.tmp-$gone-0 ]] || fail "left-overs: $(ls)"
(cd "$source" && expect 0 "$lorac" compile specs/tiny_lora.toml -o "$work/g")
[[ ! -e g.part.$gone && -e g.part.1$gone/mine && -e g.part.2$gone/plan.json ]] || fail "left-overs: $(ls)"
mkdir -p t/checkpoint-9.tmp-$gone-0 t/final.tmp-$gone-3 && touch t/README.md.tmp-$gone-1 t/notes.txt.tmp-$gone-1
expect 0 $train --out t --resume
[[ $(cd t && echo *.tmp-*) == notes.txt.tmp-$gone-1 ]] || fail "left-overs: $(ls t)"
