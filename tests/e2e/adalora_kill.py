"""adalora_kill.py LORAC WORK MODE:TRIES...: kills WORK/MODE/train at seeded moments around allocations, resumes it, and compares
adapter and metrics with WORK/MODE-2."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

lorac, work = sys.argv[1], pathlib.Path(sys.argv[2])
programs = pathlib.Path(os.environ["LORAC_CACHE_DIR"]) / "programs"
volatile = {"tokens_per_second", "peak_memory_bytes", "resident_bytes", "hidden_ms", "waited_ms", "kernels_built",
            "kernels_from_cache"}


def fail(why):
    sys.exit(f"FAILED: {why}")


def metrics(folder):
    """What a run's metrics say that no clock decides."""
    lines = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        lines.append({key: value for key, value in json.loads(line).items() if key not in volatile})
    return lines


def steps_done(folder):
    try:
        lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
    except OSError:
        return -1
    steps = [json.loads(line)["step"] for line in lines if b'"loss"' in line]
    return steps[-1] if steps else 0


def start(mode, out):
    command = [work / mode / "train", "--lorac", lorac, "--quiet", "--threads", "2", "--out", out, "--resume"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def children(pid):
    """Compilers that build programs for this run."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"/proc/{pid}/exe".encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(process.name)
        except OSError:
            pass
    return found


def kill_at(process, out, done, pause):
    """Once so many steps are done (or a checkpoint is being written), and a moment later."""
    while process.poll() is None:
        if done is None:
            if any(".tmp-" in name for name in os.listdir(out) if name.startswith("checkpoint")):
                break
        elif steps_done(out) >= done:
            break
        time.sleep(0.0005)
    time.sleep(pause)
    building = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == 0:
        return None  # it was over already
    for _ in range(200):
        if not children(process.pid):
            return building
        time.sleep(0.05)
    fail("a compiler goes on after its run was killed")


def check(mode, tries):
    whole = metrics(work / f"{mode}-2")
    # Steps done after the allocations, and before each new program.
    allocated = [line["step"] for line in whole if "budget" in line]
    swaps = [line["step"] for line in whole if "program_ranks" in line]
    if len(allocated) < 4 or len(swaps) < 2:
        fail(f"{mode}: allocations after {allocated}, programs after {swaps}")
    step = 0.02
    moments = random.Random(7 + tries)
    killed = building = 0
    for attempt in range(tries):
        out = work / "cut"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if attempt % 8 < 4:  # builds of its own, so that one is under way
            shutil.rmtree(programs, ignore_errors=True)
        at = allocated[moments.randrange(len(allocated))]
        done, pause = [(at - 1, step * moments.random()),  # within the allocation's step
                       (at, 4 * step * moments.random()),  # while the child builds
                       (moments.choice(swaps) - 1, 2 * step * moments.random()),  # around the swap
                       (None, step * moments.random() / 4)][attempt % 4]  # within a checkpoint
        process = start(mode, out)
        if done is None:  # the first checkpoint behind an allocation
            while process.poll() is None and steps_done(out) < at:
                time.sleep(0.001)
        found = kill_at(process, out, done, pause)
        killed += found is not None
        building += bool(found)
        stopped = steps_done(out)
        process = start(mode, out)
        _, errors = process.communicate()
        if process.returncode != 0:
            fail(f"{mode}, attempt {attempt}, killed after step {stopped}: resumed with code {process.returncode}\n{errors}")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            if (out / name).read_bytes() != (work / f"{mode}-2" / name).read_bytes():
                fail(f"{mode}, attempt {attempt}, killed after step {stopped}: '{name}' differs")
        found_lines = metrics(out)
        if found_lines != whole:
            first = next((i for i, pair in enumerate(zip(found_lines, whole)) if pair[0] != pair[1]), min(len(found_lines), len(whole)))
            fail(f"{mode}, attempt {attempt}, killed after step {stopped}: the metrics differ from line {first + 1} on\n"
                 f"found:    {found_lines[first:first + 2]}\nexpected: {whole[first:first + 2]}\nof {len(found_lines)} and {len(whole)}\n{errors}")
        print(f"{mode} {attempt}: killed after step {stopped}" + (", a build was under way" if found else ""), flush=True)
    if killed < tries - 2 or building == 0:
        fail(f"{mode}: {killed} of {tries} runs were killed, {building} while a program was built: too little was tested")


for word in sys.argv[3:]:
    check(word.split(":")[0], int(word.split(":")[1]))
