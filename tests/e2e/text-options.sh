#!/usr/bin/env bash
# Text of the tiny model: prompts longer than a run's rows, stop strings, sampling options, a limit of memory, what is refused.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden
mkdir "$work/model"
cp "$golden/tiny/tied/config.json" "$golden/tiny/tied/model.safetensors" "$work/model/"
cp "$golden/tokenizer/bytelevel.tokenizer.json" "$work/model/tokenizer.json"
cat >"$work/tiny.toml" <<END
[model]
source = "$work/model"
[adapter]
r = 2
lora_alpha = 4
[[data]]
path = "$work/nothing.txt"
format = "text"
[train]
output_dir = "$work/out"
steps = 1
max_length = 700
batch_size = 1
[target]
device = "cpu"
END
generate() { (cd "$work" && expect "${code:-0}" "$lorac" generate tiny.toml --quiet "$@"); }
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[int(sys.argv[2])][sys.argv[3]])' "$work/stdout" "$1" "$2"; }

# The data of the spec is not read. The program has a folder of its own.
generate --prompt "the kernel" --max-new-tokens 12 --json
[[ -x $work/generated/tiny-text/generate && ! -e $work/generated/tiny ]] || fail "not in generated/tiny-text"
whole=$(field 0 text)
ids=$(field 0 ids)

# A prompt of more tokens than a run has rows goes in pieces: beside another, too, it is the text that it is alone.
long=$(python3 -c 'print("the kernel reads a page of memory and writes it back " * 20)')
generate --prompt "$long" --max-new-tokens 8 --json
alone=$(field 0 ids)
rows=$(sed -n 's/.*lora.limits tokens \([0-9]*\) .*/\1/p' "$work/generated/tiny-text/10-model.mlir")
(($(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))[0]["prompt_ids"]))' "$work/stdout") > rows)) ||
  fail "the prompt fits the $rows rows of a run: the test shows nothing"
generate --prompt "the kernel" --prompt "$long" --max-new-tokens 12 --json --batch 2
[[ $(field 0 ids) == "$ids" ]] || fail "a text depends on its neighbour"
[[ $(field 1 ids) == "${alone%]}"* ]] || fail "a long prompt beside another has another text"

# Printed as it comes, in the order of the prompts.
generate --prompt "the kernel" --prompt "a" --max-new-tokens 12 --batch 2
[[ $(head -1 "$work/stdout") == "$whole"* ]] || fail "the first prompt's text is not first"

# A stop string ends the text before it, wherever tokens end.
stop=${whole:3:4}
generate --prompt "the kernel" --max-new-tokens 12 --json --stop "$stop" --stop "never in it"
[[ $(field 0 text) == "${whole%%"$stop"*}" ]] || fail "'$(field 0 text)' does not end before '$stop' of '$whole'"
[[ $(field 0 finish_reason) == stop ]] || fail "the reason is $(field 0 finish_reason)"
generate --prompt "the kernel" --max-new-tokens 12 --json --stop "$whole and more"
[[ $(field 0 text) == "$whole" ]] || fail "what was held back is lost"

# One token alone is at least as likely as the likeliest; a penalty on repeats changes a text that repeats itself.
generate --prompt "the kernel" --max-new-tokens 12 --json --temperature 2 --min-p 1
[[ $(field 0 ids) == "$ids" ]] || fail "--min-p 1 is not greedy"
generate --prompt "the kernel" --max-new-tokens 60 --json --repetition-penalty 50
python3 - "$work/stdout" <<'P' || fail "a token comes again under a penalty of 50"
import json, sys
text = json.load(open(sys.argv[1]))[0]
assert len(set(text["ids"])) == len(text["ids"]), text["ids"]
P
code=2 generate --prompt a --min-p 1.5
code=2 generate --prompt a --repetition-penalty 0
code=2 generate --prompt a --stop ""
code=2 generate --prompt a --batch 0
code=3 generate --prompt "$long$long"
says "the prompt has"

# The limit is for all: weights, cache, program.
code=4 generate --prompt a --set target.memory=9MiB --set train.max_length=20000
says "keys and values"
says "max_length"

# It trains nothing.
expect 2 "$work/generated/tiny-text/generate" --out "$work/none"
says "this program makes text alone: add --generate"

# DoRA is served by the program of a step.
(cd "$work" && sed -i "s|$work/nothing.txt|$golden/tiny/train_data.safetensors|; s|format = \"text\"|format = \"tokens\"|" tiny.toml &&
  expect 0 "$lorac" train tiny.toml --set adapter.use_dora=true --set train.max_length=24 --out dora --generated trained)
generate --prompt "the kernel" --max-new-tokens 4 --adapter "$work/dora" --set train.max_length=24
[[ -x $work/generated/tiny-adapter/train ]] || fail "no program of a step for DoRA"
