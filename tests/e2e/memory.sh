# memory.sh BUILD SOURCE: what is resident is never above what is planned, data and the program itself included; a limit counts all of it.
onDisk=yes # what lies in memory would count
source "$(dirname "$0")/common.sh"
cd "$source"

# resident COMMAND...: runs it and prints the most that was resident, as /proc says to a parent.
cat >"$work/resident.py" <<'P'
import subprocess, sys, time
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=open(sys.argv[0] + ".log", "w"))
most = 0
while process.poll() is None:
    try:
        status = open(f"/proc/{process.pid}/status").read()
        if status.startswith("Name:\ttrain\n"):  # exec is done
            most = max([most] + [1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")])
    except (FileNotFoundError, ProcessLookupError):
        pass
    time.sleep(0.002)
print(most)
sys.exit(process.returncode)
P
field() { python3 -c "import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])" "$1" "$2"; }

# within NAME PROGRAM FOLDER [FLAG...]: the run stays within what it, and the compiler before it, planned.
within() {
  local name=$1 program=$2 folder=$3
  shift 3
  expect 0 python3 "$work/resident.py" "$program" --out "$work/$name-out" --overwrite --profile "$work/$name.json" "$@"
  local seen planned peak compiled
  seen=$(cat "$work/stdout") planned=$(field "$work/$name.json" planned_bytes) peak=$(field "$work/$name.json" peak_memory_bytes)
  compiled=$(field "$folder/memory.json" total_bytes)
  echo "$name: $compiled planned by the compiler, $planned by the run, $peak resident at most, $seen seen by a parent"
  ((peak <= planned && seen <= planned)) || fail "$name: more is resident than planned"
  [[ $# != 0 ]] || ((planned <= compiled)) || fail "$name: the run plans more than the compiler did"
}

export LORAC=$lorac # whom AdaLoRA asks for smaller programs
for spec in tiny_lora tiny_qlora tiny_adalora; do
  compiled $spec "$work/$spec"
  within $spec "$work/$spec/train" "$work/$spec"
done
for threads in 1 4; do
  within tiny_lora-$threads "$work/tiny_lora/train" "$work/tiny_lora" --threads $threads
done

# Where a cgroup can be made, a run stays within what is planned and 5 % for the kernel's own.
group=/sys/fs/cgroup/memory/lorac-$$
if mkdir "$group" 2>/dev/null; then
  trap 'rmdir "$group" 2>/dev/null; rm -rf "$work"' EXIT
  limit=$(($(field "$work/tiny_lora/memory.json" total_bytes) * 105 / 100))
  echo $limit >"$group/memory.limit_in_bytes"
  expect 0 bash -c 'echo $$ >"$1/cgroup.procs" && exec "$2" --out "$3"' - "$group" "$work/tiny_lora/train" "$work/group-out"
  echo "in a cgroup of $limit bytes: $(cat "$group/memory.max_usage_in_bytes") at most"
fi

# The lines add up, and say what they are for.
expect 0 "$lorac" plan specs/tiny_qlora.toml --json
python3 - "$work/stdout" <<'P' || fail "the lines of the plan"
import json, sys
plan = json.load(open(sys.argv[1]))
lines = plan["lines"]
phases = [sum(line["bytes"] for line in lines if line[phase]) for phase in ("reading", "loading", "steps")]
assert plan["total_bytes"] == max(phases), (phases, plan["total_bytes"])
keys = {line["key"].split(".")[0] for line in lines}
assert {"weights", "adapters", "gradients", "optimizer", "io", "activations", "scratch", "batches", "tokens", "samples", "program"} <= keys, keys
assert {line["key"] for line in lines} >= {"program.code", "program.plan", "program.stacks"}
P
expect 0 "$lorac" plan specs/tiny_qlora.toml
prints "| the program itself, libc and libm |"
prints "tokens of the data"

# A model with a tokenizer, and 9 MB of text.
mkdir "$work/model"
cp tests/golden/tiny/untied/{config.json,model.safetensors} "$work/model/"
cp tests/golden/tokenizer/bytelevel.tokenizer.json "$work/model/tokenizer.json"
python3 - "$work" <<'P'
import random, sys
random.seed(7)
words = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "to", "my", "house"]
line = " ".join(random.choice(words) for _ in range(4000))
with open(sys.argv[1] + "/long.txt", "w") as file:
    while file.tell() < 9_000_000:
        file.write(line + " ")
with open(sys.argv[1] + "/many.txt", "w") as file:
    while file.tell() < 9_000_000:
        file.write(line[:200] + "\n%\n")
P
for data in long many; do
  sed "s|^path = .*|path = \"$work/$data.txt\"|; s|^format = \"tokens\"|format = \"text\"|" specs/tiny_lora.toml >"$work/$data.toml"
  text=(--set "model.source=\"$work/model\"" --set "model.shape={}" --set train.steps=3)
  expect 4 "$lorac" compile "$work/$data.toml" "${text[@]}" -o "$work/none" --set "target.memory='8 MiB'"
  says "more than memory = 8.0 MiB"
  [[ ! -e $work/none ]] || fail "something was written"
  expect 0 "$lorac" compile "$work/$data.toml" "${text[@]}" -o "$work/$data"
  within $data "$work/$data/train" "$work/$data"
  rm -r "$work/$data-out"
done

# The limit is checked again with the data that is there and the threads that run.
head -c 20000 "$work/many.txt" >"$work/small.txt"
sed "s|many.txt|small.txt|" "$work/many.toml" >"$work/small.toml"
expect 0 "$lorac" plan "$work/small.toml" "${text[@]}" --json
limit=$(($(field "$work/stdout" total_bytes) + 1000000))
expect 0 "$lorac" compile "$work/small.toml" "${text[@]}" -o "$work/limited" --set "target.memory=$limit"
expect 0 "$work/limited/train" --out "$work/limited-out"
expect 4 "$work/limited/train" --out "$work/more-out" --data "tokens=$work/many.txt"
says "more than target.memory ="
says "tokens of the data"
expect 4 "$work/limited/train" --out "$work/more-out" --threads 64
says "--threads "
[[ ! -e $work/more-out/adapter_model.safetensors ]] || fail "a run that does not fit has written"
