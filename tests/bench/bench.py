"""`make bench`: the SmolLM2 training step (r = 16, all linears, 4 x 256 tokens, 2 threads).

bench.py BUILD [PYTHON] [--rounds N]: PYTHON, where given, has PEFT and bitsandbytes; then all sides run in turn, so that a busy neighbour
disturbs them alike: PEFT in float32, in bf16 where the CPU has it, and once with gradient checkpointing, for its memory. Only the standard
library is used here.
"""
import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import machine

parser = argparse.ArgumentParser()
parser.add_argument("build", type=Path)
parser.add_argument("peers", nargs="?")
parser.add_argument("--rounds", type=int, default=3)
options = parser.parse_args()
build, peers = options.build.resolve(), options.peers
source = Path(__file__).resolve().parents[2]
THREADS, STEPS = 2, 5
MIB = 1 << 20
CONFIGURATIONS = [("LoRA over the file's own blocks (keep)", "smollm2_lora", "lora"),
                  ("QLoRA, NF4 with double quantization", "smollm2_qlora", "qlora")]
# Words beside the method: name, arguments, in every round or once.
PEERS = [("float32", [], True)] + ([("bf16", ["--dtype", "bfloat16"], True)] if machine.has_bf16() else []) + [
    ("float32, gradient checkpointing", ["--checkpointing"], False)]


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, cwd=source, stdout=subprocess.PIPE).stdout


def build_fma_peak(work):
    program = work / "fma_peak"
    run("g++", "-std=c++20", "-O3", "-ffp-contract=fast", "-pthread", "-o", program, source / "tests/bench/fma_peak.cpp")
    return program


def ours(spec, work):
    """One run: tokens/s of each step but the first, and the profile."""
    profile, out = work / "profile.json", work / "out"
    profile.unlink(missing_ok=True)
    run(work / spec / "train", "--out", out, "--overwrite", "--threads", THREADS, "--profile", profile, "--quiet")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    speeds = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    return speeds[1:], json.loads(profile.read_text())


def theirs(method, words):
    answer = json.loads(run(peers, source / "tests/bench/peft_step.py", method, source / "models/SmolLM2-135M-Instruct.Q4_1.gguf",
                            source / "models/fortunes.txt", STEPS, THREADS, *words).splitlines()[-1])
    return answer["tokens_per_second"][1:], answer["peak_memory_bytes"]


def table(profile, peak):
    rows = [kernel for kernel in profile["kernels"] if kernel["program"] == "train"]
    total = sum(row["seconds"] for row in rows)
    print(f"\n  {'kernel':<46} {'calls':>6} {'ms/step':>9} {'share':>6} {'GFLOP/s':>8} {'of peak':>8}")
    for row in sorted(rows, key=lambda row: -row["seconds"]):
        speed = row["flops"] / row["seconds"] / 1e9 if row["seconds"] else 0
        print(f"  {row['kernel']:<46} {row['calls'] // STEPS:>6} {1e3 * row['seconds'] / STEPS:>9.1f} "
              f"{row['seconds'] / total:>6.1%} {speed:>8.1f} {speed / peak:>8.1%}")
    flops = sum(row["flops"] for row in rows)
    print(f"  {'all':<46} {'':>6} {1e3 * total / STEPS:>9.1f} {'':>6} {flops / total / 1e9:>8.1f} {flops / total / 1e9 / peak:>8.1%}")


def speeds_of(runs):
    return [speed for speeds, _ in runs for speed in speeds]


with tempfile.TemporaryDirectory(prefix="lorac-bench.", dir=build) as folder:
    work = Path(folder)
    fma_peak, roofs = build_fma_peak(work), {}
    for name, spec, method in CONFIGURATIONS:
        run(build / "lorac", "compile", f"specs/{spec}.toml", "-o", work / spec, "--set", f"train.steps={STEPS}",
            "--set", "train.eval_steps=0", "--set", "train.save_steps=0", "--set", "data.eval_fraction=0")
    results = {spec: [] for _, spec, _ in CONFIGURATIONS}
    others = {(spec, peer): [] for _, spec, _ in CONFIGURATIONS for peer, _, _ in PEERS}
    for turn in range(options.rounds):
        for roof, speed in json.loads(run(fma_peak, THREADS)).items():  # the roofs of the quietest moment
            roofs[roof] = max(roofs.get(roof, 0), speed)
        for _, spec, method in CONFIGURATIONS:
            results[spec].append(ours(spec, work))
            for peer, words, is_always in PEERS if peers else []:
                if is_always or turn == 0:
                    others[spec, peer].append(theirs(method, words))
    peak = max(speed for roof, speed in roofs.items() if roof.startswith("f32"))
    print(f"{machine.description()}")
    print(f"multiply-adds from registers, {THREADS} threads:")
    for roof, speed in roofs.items():
        print(f"  {roof:<30} {speed:>8.0f} GFLOP/s{'  (the peak below)' if speed == peak else ''}")
    for name, spec, _ in CONFIGURATIONS:
        speeds = speeds_of(results[spec])
        profiles = [profile for _, profile in results[spec]]
        best = min(profiles, key=lambda profile: profile["kernels_seconds"])
        resident = max(profile["peak_memory_bytes"] for profile in profiles)
        print(f"\n{name}")
        print(f"  {statistics.median(speeds):.0f} tokens/s at the median, {max(speeds):.0f} at best ({len(speeds)} steps)")
        print(f"  memory: {best['planned_bytes'] / MIB:.0f} MiB planned, {resident / MIB:.0f} MiB resident at most")
        for peer, _, _ in PEERS if peers else []:
            peer_speeds = speeds_of(others[spec, peer])
            peer_memory = max(memory for _, memory in others[spec, peer])
            print(f"  PEFT{' + bitsandbytes' if spec == 'smollm2_qlora' else ''}, {peer}: {statistics.median(peer_speeds):.0f} tokens/s at "
                  f"the median, {max(peer_speeds):.0f} at best; {peer_memory / MIB:.0f} MiB resident at most; lorac has "
                  f"{statistics.median(speeds) / statistics.median(peer_speeds):.2f} x its speed at the median, "
                  f"{resident / peer_memory:.2f} x its memory")
        table(best, peak)
