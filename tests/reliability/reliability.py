"""make reliability: kills, I/O faults, bit flips, signals and fuzzing of what ships. docs/measured/reliability.md has figures.

reliability.py BUILD SOURCE [--part NAME]... [--share 0.1] [--seed N] [--jobs N] [--only NAME]
Exit 1 when anything was lost, silent, mixed, ended by words, or otherwise wrong."""
import argparse
import os
import pathlib
import platform
import shutil
import signal
import sys
import tempfile
import time

import faults
import flips
import fuzz
import kills
import signals
import trials
from programs import Bench, prepare
from tally import Tally

PARTS = {"kills": kills, "faults": faults, "flips": flips, "signals": signals, "fuzz": fuzz}

LEAST = {"kills": 700, "faults": 1500, "flips": 100000, "signals": 90, "fuzz": 100000}  # tried at share 1


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def home():
    """Memory where there is room: thousands of synced runs would wear a disk, and say nothing more."""
    for place in ("/dev/shm", tempfile.gettempdir()):
        if os.access(place, os.W_OK) and shutil.disk_usage(place).free > 2 << 30:
            return pathlib.Path(tempfile.mkdtemp(prefix="lorac-reliability.", dir=place))
    return pathlib.Path(tempfile.mkdtemp(prefix="lorac-reliability."))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable [all]")
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", help="the trials whose name begins so, all of them, and keep their folders")
    return parser.parse_args()


def main():
    options = arguments()
    if not shutil.which("strace"):
        print("skipped: strace is not on this machine")
        return 77
    work = home()
    bench = Bench(options.build.resolve(), options.source.resolve(), work)
    tally = Tally()
    # A terminal or a runner may have these ignored; a run that inherits that would be right to ignore them too.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    print(f"seed {options.seed}, {options.share:g} of the full counts, {options.jobs} at a time, {processor()}", flush=True)

    def again(name):
        return (f"python3 tests/reliability/reliability.py {options.build} {options.source} --seed {options.seed} "
                f"--part {name.split(':')[0]} --only {name}")

    def stop(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    begin = time.monotonic()
    try:
        for part in options.part or PARTS:
            started = time.monotonic()
            share = 1e9 if options.only else options.share
            if hasattr(PARTS[part], "in_process") and not options.only:
                prepare(bench, ["lora"])
                PARTS[part].in_process(bench, tally, options.seed, options.share, **({"jobs": options.jobs} if part == "fuzz" else {}))
            todo = PARTS[part].trials(bench, options.seed, share)
            if options.only:
                todo = [trial for trial in todo if trial.name.startswith(options.only)]
            trials.perform(bench, tally, todo, options.jobs, again)
            print(f"{part}: {tally.tried[part]} tried, {sum(n for (p, _), n in tally.bad.items() if p == part)} bad, "
                  f"{time.monotonic() - started:.0f} s", flush=True)
        few = [part for part in options.part or PARTS if options.share >= 1 and not options.only and tally.tried[part] < LEAST[part]]
        print(tally.table())
        for part in few:
            print(f"{part}: only {tally.tried[part]} tried, at least {LEAST[part]} are wanted")
        print(f"{time.monotonic() - begin:.0f} s, seed {options.seed}")
    finally:
        bench.kill_all()
        if options.only:
            print(f"folders in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    return 1 if tally.badness() or few else 0


sys.exit(main())
