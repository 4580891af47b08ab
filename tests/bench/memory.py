"""`make bench-memory`: what a run takes of memory, planned and resident, and what a limit costs.

memory.py BUILD [LEAST_ONLY]: SmolLM2 (NF4, r = 16, all linears, 4 x 256 tokens) and tiny_adalora on the CPU, measured at steps of full
length by this process in /proc; Llama-3's shapes on CUDA by `lorac plan`. Step times are interleaved: each program takes a step in turn.
Only the standard library is used here.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import turns

build = Path(sys.argv[1]).resolve()
source = Path(__file__).resolve().parents[2]
lorac = build / "lorac"
THREADS, STEPS = 2, 6
MIB = 1 << 20
FULL = ["--set", "train.batch_size=4", "--set", "train.max_length=256", "--set", f"target.threads={THREADS}",
        "--set", f"train.steps={STEPS}", "--set", "train.eval_steps=0", "--set", "train.save_steps=0", "--set", "data.eval_fraction=0"]


def lorac_says(*words):
    return subprocess.run([str(lorac), *map(str, words)], cwd=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def plan(spec, *words):
    """(code, JSON, wall seconds)"""
    begin = time.monotonic()
    done = lorac_says("plan", spec, "--json", *words)
    return done.returncode, json.loads(done.stdout or "{}"), time.monotonic() - begin


def least_of(spec, *words):
    """The least that target.memory can be: what a plan says that was given nothing to live on. (bytes, wall seconds)"""
    code, said, seconds = plan(spec, *words, "--set", "target.memory=1024")
    if code != 4:
        raise SystemExit(f"'lorac plan {spec}' under 1 KiB ended with {code}, not 4")
    return said.get("least_bytes", said["total_bytes"]), seconds


def compiled(spec, folder, *words):
    done = lorac_says("compile", spec, "-o", folder, *words)
    if done.returncode != 0:
        raise SystemExit(done.stderr)


def run(program, out, *words):
    """(planned, resident at most): planned as the run counts it, resident as this process sees it in /proc."""
    profile = out.with_suffix(".json")
    process = subprocess.Popen([str(program), "--out", str(out), "--overwrite", "--profile", str(profile), "--quiet", *words],
                               cwd=source, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            name = status.split("\n", 1)[0]
            if name.endswith("train"):  # exec is done
                most = max(most, *(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
        except (FileNotFoundError, ProcessLookupError, TypeError):
            pass
        time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"{program} ended with {process.returncode}")
    said = json.loads(profile.read_text())
    return said["planned_bytes"], max(most, said["peak_memory_bytes"]), said


def row(name, planned, resident):
    off = (resident - planned) / planned
    print(f"  {name:<44} {planned / MIB:>9.1f} {resident / MIB:>9.1f} {(resident - planned) / MIB:>+8.1f} {off:>+7.2%}"
          f"{'' if -0.02 <= off <= 0 else '  <- out of bounds'}")
    return -0.02 <= off <= 0


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def main():
    smollm2 = "specs/smollm2_qlora.toml"
    print(f"CPU: {cpu_name()}, {THREADS} threads\n")
    with tempfile.TemporaryDirectory(prefix="lorac-bench.", dir=build) as folder:
        work = Path(folder)
        least, seconds = least_of(smollm2, *FULL)
        print(f"SmolLM2 NF4, 4 x 256: the least that target.memory can be is {least / MIB:.1f} MiB (planned in {seconds:.1f} s)\n")
        limits = {"no limit": None, "600 MiB": 600 * MIB, "400 MiB": 400 * MIB, "the least": least}
        programs = {}
        for name, limit in limits.items():
            if limit is not None and limit < least:
                print(f"  {name} is below the least: left out")
                continue
            programs[name] = work / name.replace(" ", "-")
            compiled(smollm2, programs[name], *FULL, *([] if limit is None else ["--set", f"target.memory={limit}"]))
        compiled("specs/tiny_adalora.toml", work / "tiny", "--set", f"target.threads={THREADS}")

        print(f"  {'resident at steps of full length, MiB':<44} {'planned':>9} {'resident':>9} {'more':>8}")
        for name, path in programs.items():
            row(f"SmolLM2, {name}", *run(path / "train", work / "out")[:2])
        planned, resident, _ = run(work / "tiny/train", work / "tiny-out", "--allow-fixed-ranks")
        print(f"  {'tiny_adalora':<44} {planned / MIB:>9.1f} {resident / MIB:>9.1f} {(resident - planned) / MIB:>+8.1f}")

        runners = {}
        for name, path in programs.items():
            out = work / (path.name + "-turns")
            runners[name] = turns.Runner([path / "train", "--out", out, "--overwrite", "--quiet"], out / "metrics.jsonl", b'"loss"',
                                         work / (path.name + ".log"), None)
        turns.take_turns(list(runners.values()), STEPS)
        base = runners["no limit"].seconds(1, STEPS)
        print(f"\n  {'step time, interleaved':<44} {'seconds':>9} {'ratio':>9}")
        for name, runner in runners.items():
            times = runner.seconds(1, STEPS)
            ratios = [time / other for time, other in zip(times, base)]
            print(f"  {name:<44} {statistics.median(times):>9.2f} {statistics.median(ratios):>9.3f}")

    print(f"\n  {'Llama-3 on CUDA, NF4, r 16 all linears':<44} {'least':>9} {'planned in':>11}")
    shape = ["--set", "train.batch_size=1", "--set", "train.max_length=4096", "--set", "target.arch=[\"sm_90\"]"]
    for name, spec, layers in [("8B (32 layers), 4096 tokens", "tests/cuda/llama3_8b.toml", 32),
                               ("70B (80 layers), 4096 tokens", "tests/cuda/llama3_70b.toml", 80)]:
        if not (source / spec).exists():
            continue
        text = (source / spec).read_text()
        with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=source / Path(spec).parent, prefix=".bench-") as file:
            file.write("\n".join(line.replace("layers = 2,", f"layers = {layers},") for line in text.splitlines()) + "\n")
            file.flush()
            bytes_, seconds = least_of(file.name, *shape)
        print(f"  {name:<44} {bytes_ / (1 << 30):>5.2f} GiB {seconds:>9.1f} s")


main()
