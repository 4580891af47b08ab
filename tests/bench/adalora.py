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
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from turns import Runner, take_turns

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


class Ours(Runner):
    def __init__(self, task, work, name, seed, environment, out="out"):
        self.task, self.work, self.environment = task, work, environment
        self.folder = work / f"{name}-{seed}"
        self.out = self.folder / out
        super().__init__([self.folder / "train", "--out", self.out, "--overwrite", "--lorac", build / "lorac"],
                         self.out / "metrics.jsonl", b'"tokens_per_second"', work / f"{name}-{seed}-{out}.log", environment)

    def result(self):
        task, lines = self.task, [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "tokens_per_second" in line]
        programs = [line for line in lines if "program_ranks" in line]
        last = max((line["step"] for line in programs), default=task.steps - task.tfinal + 8)
        answer = json.loads(run(self.folder / "train", "--eval", "--adapter", self.out, "--data", f"rows={self.work}/heldout.safetensors",
                                "--json", "--quiet", env=self.environment))
        resident = lambda i: steps[i].get("resident_bytes", steps[i]["peak_memory_bytes"])
        return {"loss": answer["loss"], "before": self.seconds(2, task.tinit + task.delta), "after": self.seconds(last + 1, task.steps - 1),
                "resident": (resident(task.tinit), resident(task.steps - 1)), "programs": len(programs),
                "built": sum(line["kernels_built"] for line in programs), "waited": sum(line["waited_ms"] for line in programs),
                "hidden": sum(line["hidden_ms"] for line in programs)}


class Theirs(Runner):
    def __init__(self, task, work, seed):
        self.task, self.file_of_steps = task, work / f"peft-{seed}.jsonl"
        keys = ("init", "target", "tinit", "tfinal", "delta", "rate", "steps", "quantization")
        super().__init__([options.peers, source / "tests/bench/peft_adalora.py", task.model, work / f"train-{seed}.safetensors",
                          work / "heldout.safetensors", json.dumps({key: getattr(task, key) for key in keys}), seed, THREADS, self.file_of_steps],
                         self.file_of_steps, b'"resident_bytes"', work / f"peft-{seed}.log", None)

    def result(self):
        *steps, last = [json.loads(line) for line in self.file_of_steps.read_text().splitlines()]
        task = self.task
        return {"loss": last["loss"], "before": self.seconds(2, task.tinit + task.delta),
                "after": self.seconds(task.steps - task.tfinal + 9, task.steps - 1),
                "resident": (steps[task.tinit]["resident_bytes"], steps[-1]["resident_bytes"])}


def compile_all(task, work, adapters, environment, seeds, *flags):
    for name, adapter in adapters.items():
        for seed in seeds:
            spec = work / f"{name}-{seed}.toml"
            spec.write_text(spec_of(task, work, seed, adapter))
            run(build / "lorac", "compile", spec, "-o", work / f"{name}-{seed}", *flags, stderr=subprocess.DEVNULL, env=environment)


def show(task, results):
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
    results = {}
    for seed in task.seeds:
        runners = {name: Ours(task, work, name, seed, environment) for name in adapters}
        if options.peers:
            runners["PEFT AdaLoRA"] = Theirs(task, work, seed)
        take_turns(runners.values(), task.steps)
        for name, runner in runners.items():
            results.setdefault(name, []).append(runner.result())
            print(f"{task.name}: {name}, seed {seed}: {results[name][-1]['loss']:.4f}", file=sys.stderr, flush=True)
    show(task, results)


def ranks_in_kernels(folder):
    """What it costs that kernels serve every rank: LoRA's step beside one whose kernels are made for its rank."""
    task = TASKS[1]
    task.steps = 28
    work = folder / "ranks"
    work.mkdir()
    make_data(task, work)
    environment = {**os.environ, "LORAC_CACHE_DIR": str(work / "cache")}
    ranks = (8, 16, 64)
    compile_all(task, work, {f"launch-{rank}": lora(rank, 1) for rank in ranks}, environment, [1])
    compile_all(task, work, {f"kernel-{rank}": lora(rank, 1) for rank in ranks}, environment, [1], "--rank-per-kernel")
    runners = {(rank, kind): Ours(task, work, f"{kind}-{rank}", 1, environment) for rank in ranks for kind in ("launch", "kernel")}
    take_turns(runners.values(), task.steps)
    print(f"\n### Rank with the launch, or a kernel for each rank: {task.name}, LoRA, {task.batch} x {task.length} tokens, {THREADS} threads\n")
    print("| r | ms a step, rank with the launch | a kernel for each rank | a kernel for each rank saves | the same adapter |")
    print("|---|---|---|---|---|")
    for rank in ranks:
        launch, kernel = (runners[rank, kind].seconds(2, task.steps - 1) for kind in ("launch", "kernel"))
        saves = statistics.median(1 - one / any_rank for any_rank, one in zip(launch, kernel))  # of steps side by side
        same = len({(runners[rank, kind].out / "adapter_model.safetensors").read_bytes() for kind in ("launch", "kernel")}) == 1
        print(f"| {rank} | {1e3 * statistics.median(launch):.1f} | {1e3 * statistics.median(kernel):.1f} | {saves:+.2%} | "
              f"{'yes' if same else 'no'} |", flush=True)


def cold(folder):
    """200 SmolLM2 steps, the programs to be built and then the same with all of them there; kernels are cold in the first alone."""
    task = TASKS[1]
    task.steps, task.tinit, task.tfinal, task.delta = 200, 20, 60, 10
    work = folder / "cold"
    work.mkdir()
    make_data(task, work)
    environment = {**os.environ, "LORAC_CACHE_DIR": str(work / "cache")}
    compile_all(task, work, {"bucketed": adalora(task, "bucketed")}, environment, [1])
    # The second is always as far as the first, so every program that it asks for is there.
    runners = {name: Ours(task, work, "bucketed", 1, environment, name) for name in ("cold", "prebuilt")}
    take_turns(runners.values(), task.steps)
    for name, runner in runners.items():
        result = runner.result()
        print(f"{name}: {runner.processor_seconds:.1f} CPU s, {result['programs']} programs, {result['built']} kernels built, "
              f"hidden {result['hidden']:.0f} ms, waited {result['waited']:.0f} ms, held-out loss {result['loss']:.4f}", flush=True)
    print(f"CPU seconds, cold / prebuilt: {runners['cold'].processor_seconds / runners['prebuilt'].processor_seconds:.4f} (bar 1.03)")


with tempfile.TemporaryDirectory(prefix="lorac-adalora.", dir=build) as folder:
    if options.cold:
        cold(Path(folder))
    else:
        for each in TASKS[:1] if options.quick else TASKS:
            if not options.only or each.name.lower().startswith(options.only):
                table(each, Path(folder))
        if not options.quick and options.only != "stories260k":
            ranks_in_kernels(Path(folder))
