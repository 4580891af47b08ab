"""`make bench-neighbour`: what a training run keeps of its speed when others want its cores.

neighbour.py BUILD [PYTHON] [--rounds N] [--steps N] [--threads N] [--spec NAME]: beside 0, 1 and 2 processes that burn a core each, in turn and again:
as many counting processes as there are threads, which wait for nobody and so get what the scheduler gives; lorac's SmolLM2 step (QLoRA,
4 x 256 tokens); PEFT's, where PYTHON has it. All are held while it is another's turn. lorac shall keep at least 0.9 of what the counting
processes keep, and not less than PEFT: exit code 1 where it does not. Only the standard library is used here.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import turns
from turns import Runner

parser = argparse.ArgumentParser()
parser.add_argument("build", type=Path)
parser.add_argument("peers", nargs="?")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=2, help="of each program in a turn")
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
parser.add_argument("--spec", default="smollm2_qlora")
parser.add_argument("--train", action="append", default=[], metavar="NAME=FILE", help="one more lorac-train, to compare pools")
options = parser.parse_args()
build, source = options.build.resolve(), Path(__file__).resolve().parents[2]
turns.GLANCE = 0.01  # a step takes seconds here, and looking costs time
TOKENS, STEPS, BURNERS, COUNT_SECONDS, GATE = 4 * 256, options.steps, (0, 1, 2), 4.0, 0.9
BURN = "while True: pass"
# Counts for as long as it is told, in pieces far shorter than a scheduler's slice.
COUNT = """
import sys, time
end, count = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    for _ in range(1000): count += 1
print(count)
"""


class Burners:
    """Processes that want a core each for as long as the block lasts."""

    def __init__(self, count):
        self.processes = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]

    def __enter__(self):
        time.sleep(0.2)

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def counted():
    """What all counting processes count in a second."""
    counters = [subprocess.Popen([sys.executable, "-c", COUNT, str(COUNT_SECONDS)], stdout=subprocess.PIPE) for _ in range(options.threads)]
    return sum(int(counter.communicate()[0]) for counter in counters) / COUNT_SECONDS


def steps_of(runner):
    """Tokens/s of a few steps, by the program's own lines."""
    begin = len(runner.ends)
    runner.run_to(begin + STEPS)
    if runner.ended():
        raise SystemExit(f"{runner.process.args[0]} ended early; see its log")
    return [TOKENS / seconds for seconds in runner.seconds(begin, len(runner.ends))]


def programs(work, runners):
    steps = len(BURNERS) * STEPS * options.rounds + 8
    subprocess.run([build / "lorac", "compile", f"specs/{options.spec}.toml", "-o", work / "program", "--set", f"train.steps={steps}", "--set",
                    "train.eval_steps=0", "--set", "train.save_steps=0", "--set", "data.eval_fraction=0"], check=True, cwd=source,
                   stdout=subprocess.DEVNULL)
    binaries = {"lorac": work / "program/train"}
    for name, file in (given.split("=", 1) for given in options.train):
        binaries[name] = Path(file)
    for name, binary in binaries.items():
        out = work / f"out-{name}"
        words = [binary, "--out", out, "--threads", options.threads, "--quiet"]
        runners[name] = Runner(words, out / "metrics.jsonl", b'"tokens_per_second"', work / f"{name}.log", None)
    if options.peers:
        method = "qlora" if "qlora" in options.spec else "lora"
        progress = work / "peft.progress"
        words = [options.peers, source / "tests/bench/peft_step.py", method, source / "models/SmolLM2-135M-Instruct.Q4_1.gguf",
                 source / "models/fortunes.txt", steps, options.threads, "--progress", progress]
        runners["PEFT"] = Runner(words, progress, b"step", work / "peft.log", None)


def measure(runners):
    """(what, burners) -> one figure a turn."""
    figures = {}
    for runner in runners.values():
        runner.run_to(2)  # loads, and is warm
    for _ in range(options.rounds):
        for burners in BURNERS:
            with Burners(burners):
                figures.setdefault(("counting", burners), []).append(counted())
                for name, runner in runners.items():
                    figures.setdefault((name, burners), []).extend(steps_of(runner))
    return {key: statistics.median(values) for key, values in figures.items()}


def show(figures, names):
    print(f"{machine.description()}\n{options.threads} threads on {len(os.sched_getaffinity(0))} cores; medians of "
          f"{options.rounds} turns{f' of {STEPS} steps' if names else ''}\n")
    print("| burners | counting processes keep | " + " | ".join(f"{name}, tokens/s | keeps | of the counting" for name in names) + " |")
    print("|---:|---:|" + "---:|---:|---:|" * len(names))
    missed = []
    kept = {key: value / figures[key[0], 0] for key, value in figures.items()}
    for burners in BURNERS:
        cells = [f"{kept['counting', burners]:.2f}"]
        for name in names:
            cells += [f"{figures[name, burners]:.0f}", f"{kept[name, burners]:.2f}", f"{kept[name, burners] / kept['counting', burners]:.2f}"]
        print(f"| {burners} | " + " | ".join(cells) + " |")
        if kept["lorac", burners] < GATE * kept["counting", burners]:
            missed.append(f"{burners} burners: {kept['lorac', burners]:.2f} is less than {GATE} of {kept['counting', burners]:.2f}")
        if "PEFT" in names and kept["lorac", burners] < kept["PEFT", burners]:
            missed.append(f"{burners} burners: {kept['lorac', burners]:.2f} is less than PEFT's {kept['PEFT', burners]:.2f}")
    return missed


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left standing or burning
with tempfile.TemporaryDirectory(prefix="lorac-neighbour.", dir=build) as folder:
    runners = {}
    try:
        programs(Path(folder), runners)
        figures = measure(runners)
    finally:
        for runner in runners.values():
            if not runner.ended():
                runner.process.send_signal(signal.SIGKILL)
                runner.process.wait()
missed = show(figures, list(runners))
for words in missed:
    print(f"missed: {words}")
if not missed:
    print(f"\nlorac keeps at least {GATE} of what the counting processes keep" + (", and not less than PEFT" if options.peers else ""))
sys.exit(1 if missed else 0)
