"""mutants.py BUILD SIMULATOR [COUNT]: bugs seeded into the PTX of the compiler's own kernels.

Each is one changed instruction. It is found where the simulator stops the training, or the adapter, its moments or the losses come out
otherwise. COUNT: so many of them, drawn; all without it. Prints those that nobody notices.
"""
import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SEEDS = [0, 1, 2]  # the later ones where the first shows nothing
SPEC = Path(__file__).with_name("mutants.toml")

# What is changed: a name, the instruction, what it becomes.
BUGS = [
    ("a barrier is left out", r"bar\.sync\s+0;", ""),
    ("a wait leaves a group more", r"cp\.async\.wait_group (\d+);", lambda found: f"cp.async.wait_group {int(found[1]) + 1};"),
    ("a group is not committed", r"cp\.async\.commit_group;", ""),
    ("a copy is left out", r"cp\.async\.c[ag]\.[^;]*;", ""),
    ("a matrix is transposed", r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared", "ldmatrix.sync.aligned.m8n8.x4.trans.shared"),
    ("a matrix is not transposed", r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans", "ldmatrix.sync.aligned.m8n8.x4"),
    ("B's halves change places", r"(mma\.[^{]*\{[^}]*\}, \{[^}]*\}, )\{(%r\d+), (%r\d+)\}", r"\1{\3, \2}"),
    ("a product is left out", r"mma\.sync[^;]*;", ""),
    ("shared memory is not written", r"(?<=\s)st\.shared[^;]*;", ""),
    ("a lane is missing in a mask", r"(shfl\.sync[^;]*), -1;", r"\1, 2147483647;"),
    ("a shuffle goes half as far", r"(shfl\.sync\.bfly\.b32\s+[^,]*, [^,]*), 16,", r"\1, 8,"),
]
MOST_UNSEEN = 0.1  # of them: the last barrier of a loop behind which nobody writes, waits for groups that are empty


def mutants(folder):
    """(kernel, bug, line, mutated text) of every place."""
    for file in sorted(folder.glob("*.ptx")):
        text = file.read_text()
        for name, pattern, instead in BUGS:
            for found in re.finditer(pattern, text):
                new = instead(found) if callable(instead) else found.expand(instead)
                yield file.stem, name, text.count("\n", 0, found.start()) + 1, text[:found.start()] + new + text[found.end():]


def tokens_file(path, vocab, samples, length):
    draw = random.Random(7)
    count = samples * length
    words = struct.pack(f"<{count}i", *(draw.randrange(vocab) for _ in range(count)))
    header = {name: {"dtype": "I32", "shape": [samples, 1, length], "data_offsets": [k * 4 * count, (k + 1) * 4 * count]}
              for k, name in enumerate(("input_ids", "labels"))}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + words + words)


def results(train, out, simulator, stand_ins, seed=0):
    """What two steps leave (B is zero in the first); None where the simulator stopped it."""
    environment = dict(os.environ, LORAC_LIBCUDA=simulator, PTXSIM_PTX=str(stand_ins), PTXSIM_MAX_STEPS="16M", PTXSIM_SEED=str(seed))
    words = [train, "--steps", "2", "--data", f"tokens={out.with_name('tokens.safetensors')}", "--out", out, "--overwrite", "--quiet"]
    if subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        return None
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    return losses, [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(out.rglob("*.safetensors"))]


def main(build, simulator, count=None):
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        folder, stand_ins = work / "cuda", work / "ptx"
        done = subprocess.run([build / "lorac", "compile", SPEC, "--target", "cuda", "--arch", "sm_80", "-o", folder],
                              capture_output=True, text=True)
        if "nvrtc" in done.stderr:
            print("skipped:", done.stderr)
            return 77
        if done.returncode:
            sys.exit(done.stderr)
        stand_ins.mkdir()
        plan = json.loads((folder / "plan.json").read_text())
        tokens_file(work / "tokens.safetensors", plan["limits"]["vocab"], 2, plan["limits"]["max_length"])
        right = results(folder / "train", work / "out", simulator, stand_ins)
        if right is None:
            sys.exit("the step does not run as it is")
        launched = {plan["kernels"][launch["kernel"]]["name"] for name in ("begin", "train", "norm", "update") for launch in plan["programs"][name]}
        drawn = [mutant for mutant in mutants(folder / "kernels/sm_80") if mutant[0] in launched]
        if count:
            drawn = random.Random(7).sample(drawn, int(count))
        stopped, unseen = 0, []
        for kernel, bug, line, text in drawn:
            file = stand_ins / f"{kernel}.ptx"
            file.write_text(text)
            for seed in SEEDS:
                got = results(folder / "train", work / "out", simulator, stand_ins, seed)
                if got != right:
                    break
            file.unlink()
            stopped += got is None
            if got == right:
                unseen.append(f"{kernel}.ptx:{line}: {bug}")
        print("\n".join(unseen))
        print(f"{len(drawn)} bugs: {stopped} stopped the step, {len(drawn) - stopped - len(unseen)} changed its results, {len(unseen)} unseen")
        return 1 if len(unseen) > MOST_UNSEEN * len(drawn) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), *sys.argv[2:]))
