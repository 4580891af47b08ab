"""Formats of [[data]] with answers, against the goldens and against a second reading of the tokenizer: formats.py LORAC GOLDEN,
in a folder with the model and s.toml, whose data is a.jsonl."""
import array, json, math, pathlib, subprocess, sys

lorac, golden = sys.argv[1], pathlib.Path(sys.argv[2]) / "chat/formats"


def must(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def check(path, format):
    run = subprocess.run([lorac, "check", "s.toml", "--json", "--samples", "100", "--set", f'data.path="{path}"', "--set", f"data.format={format}"],
                         capture_output=True, text=True)
    return run.returncode, json.loads(run.stdout)


vocabulary = json.load(open("model/tokenizer.json"))
letters = {}  # GPT-2's letters for bytes
extra = 256
for byte in range(256):
    if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
        letters[chr(byte)] = byte
    else:
        letters[chr(extra)] = byte
        extra += 1
token_of = {index: token for token, index in vocabulary["model"]["vocab"].items()}
token_of |= {added["id"]: added["content"] for added in vocabulary["added_tokens"]}
eos = next(added["id"] for added in vocabulary["added_tokens"] if added["content"] == "<|end|>")


def length(index):
    return len(token_of[index])  # a letter a byte


def labels_by_bytes(sample):
    """A token is trained if its bytes overlap a segment that is; eos, behind the last, with it."""
    spans, at = [], 0
    for segment in sample["segments"]:
        size = len(segment["text"].encode())
        if segment["train"]:
            spans.append((at, at + size))
        at += size
    must(sample["ids"][-1] == eos, "the sample does not end with eos")
    labels, begin = [], 0
    for index in sample["ids"][:-1]:
        end = begin + length(index)
        labels.append(index if any(begin < b and a < end for a, b in spans) else -100)
        begin = end
    must(begin == at, f"tokens of {begin} bytes, segments of {at}")
    labels.append(eos if sample["segments"][-1]["train"] else -100)
    labels[0] = -100  # nothing stands before it
    return labels


def same_labels(samples, what):
    for sample in samples:
        must(sample["labels"] == labels_by_bytes(sample), f"{what}: labels of {sample}")
        must(sample["labels"][-1] == eos, f"{what}: eos is not trained")


for name, format in (("prompt_completion.jsonl", "prompt-completion"), ("alpaca.jsonl", "alpaca"), ("alpaca.json", "alpaca")):
    code, said = check(golden / name, format)
    must(code == 0, f"{name}: {said}")
    samples = said["data"][0]["samples"]
    wanted = json.load(open(golden / (name + ".expected.json")))["plain"]
    must([sample["segments"] for sample in samples] == wanted, f"{name}: other segments: {samples}")
    must([sample.get("line", sample.get("row")) for sample in samples] == list(range(1, len(wanted) + 1)), f"{name}: other lines")
    same_labels(samples, name)

code, said = check("a.jsonl", "prompt-completion")
must(code == 0, said)
samples = said["data"][0]["samples"]
same_labels(samples, "a.jsonl")
# "kernel" has tokens over the end of the prompt: they are the answer's.
must(any(length(index) > 1 for index in samples[0]["ids"][:-1]), "no token of several letters")
must(sum(label >= 0 for label in samples[2]["labels"]) == 1, "of an empty answer eos alone is trained")

# A question, a newline, an answer.
for name in "qa.jsonl", "qa.json":
    code, said = check(name, "question-answer")
    must(code == 0, said)
    rows = said["data"][0]["samples"]
    must([[(segment["text"], segment["train"]) for segment in sample["segments"]] for sample in rows] == [[("1+1?\n", False), ("2", True)], [("é?\n", False), ("\nno", True)]], rows)
    same_labels(rows, name)

# Broken rows: file and line, the key and what is wrong.
facts = {
    "missing_output.jsonl": ['"output"'],
    "missing_completion.jsonl": ['"completion"', '"prompt"'],
    "misspelled_key.jsonl": ['"completion"', '"compltion"'],
    "null_output.jsonl": ['"output" is null'],
    "number_output.jsonl": ['"output" is number'],
    "trailing_comma.jsonl": ["not JSON", "column"],
    "duplicate_key.jsonl": ['"prompt" twice'],
    "preference_pair.jsonl": ["chosen", "rejected", 'format = "prompt-completion"'],
    "preference_kto.jsonl": ['"label"', "KTO"],
    "empty.jsonl": ["is empty"],
    "blank_lines_only.jsonl": ["holds no sample"],
}
wanted = json.load(open(golden / "faults/expected.json"))
for name, words in facts.items():
    format, row = wanted[name]["format"], wanted[name]["row"]
    code, said = check(golden / "faults" / name, format if format == "alpaca" else "prompt-completion")
    text = " ".join(diagnostic["message"] for diagnostic in said["diagnostics"])
    must(code == 3, f"{name}: exit {code}")
    for word in words + ([f"{name}', line {row}"] if row else []):
        must(word in text, f"{name}: '{word}' is not in: {text}")
code, said = check(golden / "prompt_completion_messages.jsonl", "prompt-completion")
must(code == 3 and "chat template" in said["diagnostics"][0]["message"], said)

# The loss is that of the answer's tokens: by the logits.
run = subprocess.run([lorac, "eval", "s.toml", "--json", "--logits", "logits.safetensors"], capture_output=True, text=True)
must(run.returncode == 0, run.stderr)
result = json.loads(run.stdout)
raw = pathlib.Path("logits.safetensors").read_bytes()
size = int.from_bytes(raw[:8], "little")
header = json.loads(raw[8:8 + size])


def logits_of(number):
    """The rows of a sample's logits."""
    entry = header[f"logits.{number}"]
    must(entry["dtype"] == "F32", entry)
    begin, end = entry["data_offsets"]
    values = array.array("f", raw[8 + size + begin:8 + size + end])
    width = entry["shape"][-1]
    return [values[at:at + width] for at in range(0, len(values), width)]


def nll(row, label):
    most = max(row)
    return math.log(sum(math.exp(value - most) for value in row)) + most - row[label]


losses = {entry["sample"]: entry["loss"] for entry in result["samples"]}
for number, sample in enumerate(samples):
    wanted = [nll(row, label) for row, label in zip(logits_of(number), sample["labels"][1:]) if label >= 0]
    mean = sum(wanted) / len(wanted)
    must(abs(losses[number] - mean) < 1e-5 * mean, f"sample {number}: loss {losses[number]}, by the logits {mean}")
print(f"{len(facts)} faults, {len(samples)} losses")
