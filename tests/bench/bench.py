"""`make bench`: the SmolLM2 training step (r = 16, all linears, 4 x 256 tokens, 2 threads).

bench.py BUILD [PYTHON]: PYTHON, where given, has PEFT and bitsandbytes; then both sides run in turn, so that a busy neighbour
disturbs them alike. Only the standard library is used here.
"""
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

build = Path(sys.argv[1]).resolve()
peers = sys.argv[2] if len(sys.argv) > 2 else None
source = Path(__file__).resolve().parents[2]
THREADS, STEPS, ROUNDS = 2, 5, 3
CONFIGURATIONS = [("LoRA over the file's own blocks (keep)", "smollm2_lora", "lora"),
                  ("QLoRA, NF4 with double quantization", "smollm2_qlora", "qlora")]
MIB = 1 << 20


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, cwd=source, stdout=subprocess.PIPE).stdout


def build_fma_peak(work):
    program = work / "fma_peak"
    features = Path("/proc/cpuinfo").read_text()
    flags = ["-mavx2", "-mfma"] if " avx2 " in features and " fma " in features else []
    run("g++", "-std=c++20", "-O3", "-ffp-contract=fast", *flags, "-pthread", "-o", program, source / "tests/bench/fma_peak.cpp")
    return program


def ours(spec, work):
    """One run: tokens/s of each step but the first, and the profile."""
    profile, out = work / "profile.json", work / "out"
    run(work / spec / "train", "--out", out, "--overwrite", "--threads", THREADS, "--profile", profile, "--quiet")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    speeds = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    return speeds[1:], json.loads(profile.read_text())


def theirs(method, gguf, corpus):
    answer = json.loads(run(peers, source / "tests/bench/peft_step.py", method, gguf, corpus, STEPS, THREADS).splitlines()[-1])
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


with tempfile.TemporaryDirectory(prefix="lorac-bench.", dir=build) as folder:
    work = Path(folder)
    fma_peak, peak = build_fma_peak(work), 0.0
    for name, spec, method in CONFIGURATIONS:
        run(build / "lorac", "compile", f"specs/{spec}.toml", "-o", work / spec, "--set", f"train.steps={STEPS}",
            "--set", "train.eval_steps=0", "--set", "train.save_steps=0", "--set", "data.eval_fraction=0")
    results = {spec: [] for _, spec, _ in CONFIGURATIONS}
    others = {spec: [] for _, spec, _ in CONFIGURATIONS}
    for _ in range(ROUNDS):
        peak = max(peak, float(run(fma_peak, THREADS)))  # the roof of the quietest moment
        for _, spec, method in CONFIGURATIONS:
            results[spec].append(ours(spec, work))
            if peers:
                others[spec].append(theirs(method, source / "models/SmolLM2-135M-Instruct.Q4_1.gguf", source / "models/fortunes.txt"))
    print(f"FMA peak of {THREADS} threads: {peak:.0f} GFLOP/s")
    for name, spec, _ in CONFIGURATIONS:
        speeds = [speed for run_speeds, _ in results[spec] for speed in run_speeds]
        profiles = [profile for _, profile in results[spec]]
        best = min(profiles, key=lambda profile: profile["kernels_seconds"])
        resident = max(profile["peak_memory_bytes"] for profile in profiles)
        print(f"\n{name}")
        print(f"  {statistics.median(speeds):.0f} tokens/s at the median, {max(speeds):.0f} at best ({len(speeds)} steps)")
        print(f"  memory: {best['planned_bytes'] / MIB:.0f} MiB planned, {resident / MIB:.0f} MiB resident at most")
        if others[spec]:
            peer_speeds = [speed for run_speeds, _ in others[spec] for speed in run_speeds]
            peer_memory = max(memory for _, memory in others[spec])
            print(f"  PEFT{' + bitsandbytes' if spec == 'smollm2_qlora' else ''}: {statistics.median(peer_speeds):.0f} tokens/s at the "
                  f"median, {max(peer_speeds):.0f} at best; {peer_memory / MIB:.0f} MiB resident at most")
            print(f"  lorac: {statistics.median(speeds) / statistics.median(peer_speeds):.2f} x the speed at the median, "
                  f"{resident / peer_memory:.2f} x the memory")
        table(best, peak)
