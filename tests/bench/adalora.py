"""`make bench-adalora`: what AdaLoRA's prune modes give: held-out loss, step time and resident bytes before and after shrinking.

adalora.py BUILD [--cold] [--quick] [--only MODEL] [--threads N] [--peers PYTHON]: the table in Markdown on stdout. PYTHON has torch, transformers, PEFT and
bitsandbytes (`make test-interop` installs them): then PEFT's AdaLoRA is a row. `--cold` instead compares a run whose programs are
all to be built with the same run whose programs are all there. Models and corpora are those of ../shared/data (or $LORAC_DATA) and
SmolLM2-135M-Instruct.Q4_1.gguf in models/ (or $LORAC_SMOLLM2). Only the standard library is used here.
"""
import argparse
import json
import os
import random
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("build", type=Path)
parser.add_argument("--cold", action="store_true")
parser.add_argument("--quick", action="store_true", help="one seed, the small model alone")
parser.add_argument("--only", choices=["stories260k", "smollm2"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--peers", type=Path)
options = parser.parse_args()
build, source = options.build.resolve(), Path(__file__).resolve().parents[2]
shared = Path(os.environ.get("LORAC_DATA", source.parent / "shared/data"))
smollm2 = Path(os.environ.get("LORAC_SMOLLM2", source / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
THREADS, MIB = options.threads, 1 << 20


class Task:
    """A model, its data and a schedule. `steps` and the phases are numbers of steps."""

    def __init__(self, name, model, text, quantization, batch, length, init, target, steps, tinit, tfinal, delta, rate, seeds):
        self.name, self.model, self.text, self.quantization = name, model, text, quantization
        self.batch, self.length, self.init, self.target = batch, length, init, target
        self.steps, self.tinit, self.tfinal, self.delta, self.rate, self.seeds = steps, tinit, tfinal, delta, rate, seeds


def shakespeare():
    return [(shared / "corpora/tinyshakespeare.txt").read_text()]


def gsm8k():
    lines = (shared / "corpora/gsm8k-train-1500.jsonl").read_text().splitlines()
    return [f"{sample['question']}\n{sample['answer']}" for sample in map(json.loads, lines)]


TASKS = [
    Task("stories260k, tinyshakespeare", shared / "stories260k/stories260k-f32.gguf", shakespeare, "none", 8, 128, 32, 8,
         300, 30, 100, 10, 5e-3, [1] if options.quick else [1, 2, 3]),
    Task("SmolLM2-135M NF4, GSM8K", smollm2, gsm8k, "nf4", 2, 256, 64, 16, 60, 6, 20, 6, 1e-3, [1]),
]


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, **more).stdout


def write_tokens(path, batches):
    """[steps, batch, length] as a safetensors file."""
    shape = [len(batches), len(batches[0]), len(batches[0][0])]
    ids = [token for batch in batches for row in batch for token in row]
    header = json.dumps({"input_ids": {"dtype": "I32", "shape": shape, "data_offsets": [0, 4 * len(ids)]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(ids)}i", *ids))


def make_data(task, work):
    """train-SEED.safetensors and heldout.safetensors: rows of the tokenized text, the last twentieth held out (at most 64 rows)."""
    texts = "\n".join(json.dumps(text) for text in task.text())
    lines = run(build / "lorac", "tokenize", "--model", task.model, "--json", input=texts.encode()).splitlines()
    ids = [token for line in lines for token in json.loads(line)]
    rows = [ids[i:i + task.length] for i in range(0, len(ids) - task.length + 1, task.length)]
    held = min(max(len(rows) // 20, task.batch), 64) // task.batch * task.batch
    heldout, rows = rows[-held:], rows[:-held]
    write_tokens(work / "heldout.safetensors", [heldout[i:i + task.batch] for i in range(0, held, task.batch)])
    for seed in task.seeds:
        order = rows * (task.steps * task.batch // len(rows) + 1)
        random.Random(seed).shuffle(order)
        order = order[:task.steps * task.batch]
        write_tokens(work / f"train-{seed}.safetensors", [order[i:i + task.batch] for i in range(0, len(order), task.batch)])


def spec_of(task, work, seed, adapter):
    return f"""[model]
source = "{task.model}"
[quantization]
format = "{task.quantization}"
{adapter}
[optimizer]
learning_rate = {task.rate}
weight_decay = 0.0
max_grad_norm = 1.0
[schedule]
name = "linear"
[[data]]
name = "rows"
path = "{work}/train-{seed}.safetensors"
format = "tokens"
[train]
output_dir = "out"
steps = {task.steps}
batch_size = {task.batch}
max_length = {task.length}
seed = {seed}
eval_steps = 0
save_steps = 0
[target]
device = "cpu"
threads = {THREADS}
"""


def lora(rank, scale):
    return f'[adapter]\nmethod = "lora"\nr = {rank}\nlora_alpha = {rank * scale}\n'


def adalora(task, mode, more=""):
    return (f'[adapter]\nmethod = "adalora"\nlora_alpha = {task.init}\n[adapter.adalora]\ninit_r = {task.init}\ntarget_r = {task.target}\n'
            f'tinit = {task.tinit}\ntfinal = {task.tfinal}\ndeltaT = {task.delta}\north_reg_weight = 0.1\nprune = "{mode}"\n{more}')


def configurations(task):
    # All have the scale that AdaLoRA's start has: alpha = init_r.
    return {**{mode: adalora(task, mode) for mode in ("mask", "final", "bucketed", "eager")},
            f"LoRA r = {task.target}": lora(task.target, 1), f"LoRA r = {task.init}": lora(task.init, 1)}


def cpu_of(words, log, environment):
    """Runs a command; its processor seconds, those of its children included, and the seconds on the wall."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with open(log, "w") as file:
        subprocess.run([str(word) for word in words], check=True, stderr=file, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - start


def metrics_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def ours(task, work, name, seed, environment):
    folder, out = work / f"{name}-{seed}", work / f"{name}-{seed}/out"
    cpu, _ = cpu_of([folder / "train", "--out", out, "--overwrite", "--lorac", build / "lorac"], folder / "log", environment)
    lines = metrics_of(out)
    steps = {line["step"] - 1: line for line in lines if "tokens_per_second" in line}
    tokens = task.batch * task.length
    last = max((line["step"] for line in lines if "program_ranks" in line), default=task.steps - task.tfinal + 8)
    seconds = lambda a, b: [tokens / steps[i]["tokens_per_second"] for i in range(a, b) if i in steps]
    programs = [line for line in lines if "program_ranks" in line]
    answer = json.loads(run(folder / "train", "--eval", "--adapter", out, "--data", f"rows={work}/heldout.safetensors", "--json",
                            "--quiet", env=environment))
    resident = lambda i: steps[i].get("resident_bytes", steps[i]["peak_memory_bytes"])
    return {"loss": answer["loss"], "before": seconds(2, task.tinit), "after": seconds(min(last + 1, task.steps - 2), task.steps),
            "resident": (resident(task.tinit), resident(task.steps - 1)), "programs": len(programs), "cpu": cpu,
            "built": sum(line["kernels_built"] for line in programs), "waited": sum(line["waited_ms"] for line in programs),
            "hidden": sum(line["hidden_ms"] for line in programs)}


def theirs(task, work, seed):
    words = [options.peers, source / "tests/bench/peft_adalora.py", task.model, work / f"train-{seed}.safetensors",
             work / "heldout.safetensors", json.dumps({key: getattr(task, key) for key in
                                                       ("init", "target", "tinit", "tfinal", "delta", "rate", "steps", "quantization")}),
             seed, THREADS]
    return json.loads(run(*words).splitlines()[-1])


def compile_all(task, work, adapters, environment, seeds):
    for name, adapter in adapters.items():
        for seed in seeds:
            spec = work / f"{name}-{seed}.toml"
            spec.write_text(spec_of(task, work, seed, adapter))
            run(build / "lorac", "compile", spec, "-o", work / f"{name}-{seed}", stderr=subprocess.DEVNULL, env=environment)


def show(task, results, rounds):
    print(f"\n### {task.name}: init_r {task.init}, average {task.target}, {task.steps} steps of {task.batch} x {task.length} tokens, "
          f"{len(task.seeds)} seed{'s' if len(task.seeds) > 1 else ''}, {THREADS} threads\n")
    print("| | held-out loss | to `mask` | ms a step before | after | resident MiB before | after | programs | kernels built | ms hidden, waited |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    mask = statistics.mean(result["loss"] for result in results["mask"])
    for name, runs in results.items():
        mean = statistics.mean(result["loss"] for result in runs)
        median = lambda key: 1e3 * statistics.median(second for result in runs for second in result[key])
        cells = [f"`{name}`" if name in ("mask", "final", "bucketed", "eager") else name, f"{mean:.4f}", f"{mean / mask - 1:+.2%}",
                 f"{median('before'):.1f}", f"{median('after'):.1f}",
                 *(f"{statistics.mean(result['resident'][i] for result in runs) / MIB:.1f}" for i in (0, 1))]
        if "programs" in runs[0]:
            cells += [f"{statistics.mean(result['programs'] for result in runs):.0f}", f"{sum(result['built'] for result in runs)}",
                      f"{sum(result['hidden'] for result in runs):.0f}, {sum(result['waited'] for result in runs):.0f}"]
        else:
            cells += ["", "", ""]
        print("| " + " | ".join(cells) + " |", flush=True)


def table(task, folder):
    work = folder / task.name.split(",")[0].replace(" ", "-")
    work.mkdir()
    environment = {**os.environ, "LORAC_CACHE_DIR": str(work / "cache")}
    make_data(task, work)
    adapters = configurations(task)
    compile_all(task, work, adapters, environment, task.seeds)
    results = {name: [] for name in adapters}
    peers = []
    for seed in task.seeds:  # one after the other, so that a busy neighbour disturbs all alike
        for name in adapters:
            results[name].append(ours(task, work, name, seed, environment))
            print(f"{task.name}: {name}, seed {seed}: {results[name][-1]['loss']:.4f}", file=sys.stderr, flush=True)
        if options.peers:
            peers.append(theirs(task, work, seed))
    if peers:
        results["PEFT AdaLoRA"] = peers
    show(task, results, len(task.seeds))


def cold(folder):
    """200 SmolLM2 steps, the programs to be built and then the same with all of them there; kernels are cold in the first alone."""
    task = TASKS[1]
    task.steps, task.tinit, task.tfinal, task.delta = 200, 20, 60, 10
    work = folder / "cold"
    work.mkdir()
    make_data(task, work)
    environment = {**os.environ, "LORAC_CACHE_DIR": str(work / "cache")}
    compile_all(task, work, {"bucketed": adalora(task, "bucketed")}, environment, [1])
    answers = {}
    for name in ("cold", "prebuilt"):
        answers[name] = ours(task, work, "bucketed", 1, environment)
        print(f"{name}: {answers[name]['cpu']:.1f} CPU s, {answers[name]['programs']} programs, {answers[name]['built']} kernels built, "
              f"hidden {answers[name]['hidden']:.0f} ms, waited {answers[name]['waited']:.0f} ms, held-out loss {answers[name]['loss']:.4f}",
              flush=True)
    print(f"CPU seconds, cold / prebuilt: {answers['cold']['cpu'] / answers['prebuilt']['cpu']:.4f} (bar 1.03)")


with tempfile.TemporaryDirectory(prefix="lorac-adalora.", dir=build) as folder:
    if options.cold:
        cold(Path(folder))
    else:
        for each in TASKS[:1] if options.quick else TASKS:
            if not options.only or each.name.lower().startswith(options.only):
                table(each, Path(folder))
