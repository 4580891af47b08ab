"""static_gate.py LORAC RECORDED SPEC... [--arch ARCH]... [--cache DIR] [--record]

Compiles each spec for each architecture and holds the kernels against the device's limits and the
figures in RECORDED (JSON: spec -> kernel -> architecture -> instructions for an mma in the main
loop). A fault is a spilt byte, shared memory or registers beyond the device's, warpgroup products
that ptxas says it runs one after another, a main loop that has grown, and a kernel that RECORDED
does not know or that is gone. `--record` writes the figures
of these specs and architectures anew; they are those of the NVRTC that `make cuda-tools` fetches,
which is taken where LORAC_CUDA_TOOLS has it. Exit codes: 0 no fault, 1 faults, 77 NVRTC or nvdisasm
is absent.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Shared memory that a block may have.
SHARED = {"sm_80": 166912, "sm_89": 101376, "sm_90": 232448, "sm_90a": 232448, "sm_100": 232448, "sm_120": 101376}
REGISTERS = 255  # of a thread
SLACK = 1.01  # of a recorded figure: it is rounded
# ptxas compiles wgmma that it cannot keep in flight, several times slower, and only says so:
# "(C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...".
SERIALIZED = re.compile(r"\(C75\d\d\)|wgmma\S* instructions? (?:is|are) serialized")


class Absent(Exception):
    """What the gate works with is not on this machine."""


def compiled(lorac, spec, arch, environment):
    """The lines of kernels.json. One architecture at a time: tiles for several fit the smallest."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "generated"
        command = [lorac, "compile", spec, "--target", "cuda", "--arch", arch, "-o", out]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode == 1 and "NVRTC is not on this machine" in done.stderr:
            raise Absent(done.stderr.splitlines()[0])
        if done.returncode:
            raise ValueError(f"{spec} does not compile for {arch}:\n{done.stderr}")
        return json.loads((out / "kernels.json").read_text())


def environment_of(cache):
    environment = dict(os.environ, LC_ALL="C", NO_COLOR="1")
    if cache:
        environment["LORAC_CACHE_DIR"] = cache
    tools = Path(environment.get("LORAC_CUDA_TOOLS", "/nonexistent"))
    for library in sorted(tools.glob("nvidia/*/lib/libnvrtc.so.1[0-9]")):
        environment.setdefault("LORAC_NVRTC", str(library))
    return environment


def limit_faults(kernel, arch):
    """What the device does not have, or what would be slow whatever it has."""
    if kernel["spill_bytes"]:
        yield f"{kernel['spill_bytes']} bytes are spilt"
    if kernel["shared_bytes"] > SHARED[arch]:
        shared = kernel["shared_bytes"]
        yield f"{shared} bytes of shared memory, a block may have {SHARED[arch]}"
    if not 0 < kernel["registers"] <= REGISTERS:
        yield f"{kernel['registers']} registers, a thread may have 1 to {REGISTERS}"
    if kernel["resident_blocks"] < 1:
        yield "not one block fits a multiprocessor"
    for line in kernel["log"].splitlines():
        if SERIALIZED.search(line):
            yield f"ptxas says '{line.strip()}'"


def loop_faults(figures, recorded, arch):
    """figures: kernel -> instructions per mma; recorded: kernel -> architecture -> the same."""
    for name, figure in figures.items():
        allowed = recorded.get(name, {}).get(arch)
        if allowed is None:
            yield name, f"{figure:.2f} instructions an mma, none are recorded: run with --record"
        elif figure > allowed * SLACK:
            yield name, f"{figure:.2f} instructions an mma, {allowed:.2f} are recorded"
    for name, archs in recorded.items():
        if arch in archs and name not in figures:
            yield name, "is recorded and was not found: no such kernel, or no main loop"


def table_row(spec, arch, kernels, figures, faults, seconds):
    worst = max(figures.values(), default=0)
    heavy = max((k["registers"] for k in kernels), default=0)
    shared = max((k["shared_bytes"] for k in kernels), default=0)
    return (f"| {spec} | {arch} | {len(kernels)} | {faults} | {heavy} | {shared} | {len(figures)} "
            f"| {min(figures.values(), default=0):.2f} to {worst:.2f} | {seconds:.0f} |")


def write(file, recorded):
    """One kernel a line."""
    lines = []
    for spec, kernels in sorted(recorded.items()):
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(archs)}"
                          for name, archs in sorted(kernels.items()) if archs)
        lines.append(f" {json.dumps(spec)}: {{\n{rows}\n }}")
    Path(file).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main(arguments):
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("lorac")
    options.add_argument("recorded")
    options.add_argument("specs", nargs="+")
    options.add_argument("--arch", action="append", choices=SHARED)
    options.add_argument("--cache", help="compiled kernels of several runs, as LORAC_CACHE_DIR")
    options.add_argument("--record", action="store_true")
    given = options.parse_args(arguments)
    environment = environment_of(given.cache)
    file = Path(given.recorded)
    recorded = json.loads(file.read_text()) if file.exists() else {}

    faults, loops = [], 0
    print("| spec | arch | kernels | faults | most registers | most shared bytes | main loops "
          "| instructions per mma | s |\n|---|---|---:|---:|---:|---:|---:|---|---:|")
    for path in given.specs:
        spec = Path(path).stem
        for arch in given.arch or SHARED:
            start = time.monotonic()
            try:
                kernels = compiled(given.lorac, path, arch, environment)
            except (Absent, ValueError) as error:
                print(error, file=sys.stderr)
                return 77 if isinstance(error, Absent) else 1
            figures = {k["kernel"]: round(k["instructions_per_mma"], 3) for k in kernels
                       if k["instructions_per_mma"] is not None}
            known = recorded.setdefault(spec, {})
            found = [(k["kernel"], text) for k in kernels for text in limit_faults(k, arch)]
            if not kernels:
                found.append(("no kernel", "was compiled"))
            if given.record:
                for archs in known.values():
                    archs.pop(arch, None)
                for name, figure in figures.items():
                    known.setdefault(name, {})[arch] = figure
            elif figures:  # none at all: no nvdisasm
                found += loop_faults(figures, known, arch)
            loops += len(figures)
            seconds = time.monotonic() - start
            print(table_row(spec, arch, kernels, figures, len(found), seconds), flush=True)
            faults += [f"{spec} {arch} {name}: {text}" for name, text in found]
    if given.record and loops:
        write(file, recorded)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults and not loops:
        print("no main loop was looked at: nvdisasm is absent", file=sys.stderr)
        return 77
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
