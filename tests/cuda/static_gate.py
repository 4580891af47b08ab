"""static_gate.py LORAC RECORDED SPEC...: compiles each spec for every architecture and holds the kernels against what was recorded.

Fails on a spilt byte, on shared memory or registers beyond the device's, and where a main loop has more instructions for an mma than
`RECORDED` (JSON: spec -> arch -> kernel -> instructions per mma) allows. `--record` writes the file anew.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ARCHS = ["sm_80", "sm_89", "sm_90", "sm_100", "sm_120"]
SHARED = {"sm_80": 166912, "sm_89": 101376, "sm_90": 232448, "sm_100": 232448, "sm_120": 101376}
SLACK = 1.01  # of the recorded figure: rounding in the file


def kernels(lorac, spec, arch):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "generated"
        done = subprocess.run([lorac, "compile", spec, "--target", "cuda", "--arch", arch, "-o", out], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{spec} for {arch}:\n{done.stderr}")
        return json.loads((out / "kernels.json").read_text())


def faults(spec, arch, kernel, recorded):
    where = f"{Path(spec).stem} {arch} {kernel['kernel']}"
    if kernel["spill_bytes"]:
        yield f"{where}: {kernel['spill_bytes']} bytes are spilt"
    if kernel["shared_bytes"] > SHARED[arch]:
        yield f"{where}: {kernel['shared_bytes']} bytes of shared memory, the device has {SHARED[arch]}"
    if kernel["registers"] > 255 or kernel["registers"] == 0 or kernel["resident_blocks"] < 1:
        yield f"{where}: {kernel['registers']} registers, {kernel['resident_blocks']} blocks fit a multiprocessor"
    figure = kernel["instructions_per_mma"]
    allowed = recorded.get(Path(spec).stem, {}).get(arch, {}).get(kernel["kernel"])
    if figure is not None and allowed is not None and figure > allowed * SLACK:
        yield f"{where}: {figure:.2f} instructions an mma in the main loop, {allowed:.2f} are recorded"
    if allowed is not None and figure is None:
        yield f"{where}: no main loop was found (is nvdisasm there?)"


def main(lorac, file, *specs, record=False):
    recorded = {} if record else json.loads(Path(file).read_text())
    wrong, seen, written = [], 0, {}
    for spec in specs:
        for arch in ARCHS:
            for kernel in kernels(lorac, spec, arch):
                seen += 1
                wrong += faults(spec, arch, kernel, recorded)
                if kernel["instructions_per_mma"] is not None:
                    written.setdefault(Path(spec).stem, {}).setdefault(arch, {})[kernel["kernel"]] = round(kernel["instructions_per_mma"], 3)
    if record:
        Path(file).write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    print("\n".join(wrong))
    print(f"{seen} kernels of {len(specs)} specs on {len(ARCHS)} architectures, {len(wrong)} faults")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    flags = [a for a in sys.argv[1:] if a == "--record"]
    sys.exit(main(*[a for a in sys.argv[1:] if a != "--record"], record=bool(flags)))
