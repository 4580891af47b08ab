"""`make bench-cuda-static`: what the CUDA kernels of one training step ask of a GPU, counted in the simulator. No time is measured or claimed.

cuda_static.py BUILD SIMULATOR [SPEC...]
"""
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
SPECS = [SOURCE / "specs/tiny_qlora.toml", SOURCE / "tests/bench/cuda_shapes.toml"]
LIMIT = 1.05  # of the ideal
MOST_TOKENS = 512  # of a step: more take the simulator minutes
SECTOR, MMA_FLOPS = 32, 2 * 16 * 8 * 16
BYTES = {"f32": 4, "i32": 4, "bf16": 2, "f16": 2, "i8": 1, "i64": 8, "f64": 8}
MOMENTS = (3, 5, 6)  # of adamw's arguments: read and written

ASSUMPTIONS = """\
- The PTX that NVRTC makes for compute_80 is counted, not ptxas' code: an instruction here is one of PTX.
- bytes: sectors of 32 bytes that warps ask for, in loads, stores and copies; none is taken to hit in L1, all of them reach L2 or memory.
  Their minimum is each operand of each launch once (what a kernel adds to: twice), as wide as its buffer, with the rows that the step
  has.
  Tiles that several blocks read count once in it, so the ratio grows with a product's number of tiles.
- sectors: those of each warp's request, by the distinct bytes that it asks for, / 32.
- wavefronts: 32 banks of 4 bytes; a request of 8 or 16 bytes a lane is cut into halves or quarters of the warp. A wavefront is ideal that
  carries 32 words. Copies write shared memory as stores of 16 bytes do; ldmatrix reads as 16 bytes a row do.
- mma: m16n8k16 issued, / the product's multiplications without padding / 2048. Attention's minimum is the causal half.
- Loops: innermost loops around an mma as PTX has them. NVRTC unrolls short ones, which then count only in the columns of the whole."""


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, cwd=SOURCE, stdout=subprocess.PIPE, text=True, **more)


def tokens_file(path, vocab, samples, length):
    """One batch of drawn tokens."""
    draw = random.Random(7)
    count = samples * length
    words = struct.pack(f"<{count}i", *(draw.randrange(vocab) for _ in range(count)))
    header = {name: {"dtype": "I32", "shape": [1, samples, length], "data_offsets": [k * 4 * count, (k + 1) * 4 * count]}
              for k, name in enumerate(("input_ids", "labels"))}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + words + words)


class Step:
    """One step of a spec: its plan, and what the simulator counted."""

    def __init__(self, spec, build, simulator, work):
        self.folder = work / spec.stem
        run(build / "lorac", "compile", spec, "--target", "cuda", "--arch", "sm_80", "-o", self.folder)
        self.plan = json.loads((self.folder / "plan.json").read_text())
        limits = self.plan["limits"]
        self.max_tokens, length = limits["max_tokens"], limits["max_length"]
        self.tokens = min(self.max_tokens, MOST_TOKENS) // length * length
        data, counters = work / "tokens.safetensors", work / "counters.json"
        tokens_file(data, limits["vocab"], self.tokens // length, length)
        environment = dict(os.environ, LORAC_LIBCUDA=str(simulator), PTXSIM_COUNTERS=str(counters))
        run(self.folder / "train", "--quiet", "--steps", 1, "--data", f"tokens={data}", "--out", work / "out", "--overwrite", env=environment)
        seen = json.loads((work / "out/metrics.jsonl").read_text().splitlines()[0])["num_input_tokens_seen"]
        if seen != self.tokens:
            sys.exit(f"{spec}: the step has {seen} tokens, not {self.tokens}")
        self.counted = json.loads(counters.read_text())
        self.family = {kernel["name"]: kernel["family"] for kernel in self.plan["kernels"]}

    def launches(self):
        """(kernel, launch, the types of its buffers that are no weights): of the plan and of the dump."""
        types, program = defaultdict(list), ""
        for line in (self.folder / "50-planned.mlir").read_text().splitlines():
            if found := re.search(r"func\.func @(\w+)", line):
                program = found[1]
            if "lora.launch" in line:
                types[program].append([buffer.split("x") for buffer in re.findall(r"memref<([^>]*)>", line)])
        for program in ("begin", "train", "norm", "update"):
            for launch, buffers in zip(self.plan["programs"][program], types[program], strict=True):
                yield self.plan["kernels"][launch["kernel"]]["name"], launch, buffers

    def rows(self, launch):
        begin, count = launch["rows"]
        return count if launch.get("fixed") else max(0, min(self.tokens - begin, count))

    def minimum_bytes(self, name, launch, buffers):
        rows = self.rows(launch)
        if rows == 0:  # blocks leave at once
            return 0
        total, buffers = 0, iter(buffers)
        for number, argument in enumerate(launch["args"]):
            if isinstance(argument, list):  # a part of a weight
                weight = self.plan["weights"][argument[1]]
                size = weight["parts"][argument[2]]["bytes"]
                if self.family[name] == "embed":  # a row for each token
                    size = size // weight["shape"][0] * rows
            else:
                *sides, element = next(buffers)
                height, *others = map(int, sides)
                by_token = not launch.get("fixed") and height in (self.max_tokens, launch["rows"][1])
                size = BYTES[element] * math.prod(others) * (rows if by_token else height)
            last = number == len(launch["args"]) - 1
            added_to = ("accumulate" in name and last) or (name == "each_adamw" and number in MOMENTS)
            total += size * (2 if added_to else 1)
        return total

    def minima(self):
        """kernel -> launches, bytes, flops."""
        sums = defaultdict(lambda: [0, 0, 0])
        for name, launch, buffers in self.launches():
            least = self.minimum_bytes(name, launch, buffers), launch["flops"] * self.rows(launch) // launch["rows"][1]
            sums[name] = [old + new for old, new in zip(sums[name], (1, *least))]
        return sums


def ratio(actual, ideal):
    return f"{actual / ideal:.2f}" if ideal else ""


def both(counts, what):
    """Loads and stores: `what` is space_{}_unit."""
    return sum(counts[what.format(kind)] for kind in ("load", "store"))


def row(name, launches, least, flops, counts):
    loop, mma = counts["main_loop"], counts["mma"]
    sectors = [ratio(both(part, "global_{}_sectors"), both(part, "global_{}_ideal_sectors")) for part in (counts, loop)]
    wavefronts = [ratio(both(part, "shared_{}_wavefronts"), both(part, "shared_{}_ideal_wavefronts")) for part in (counts, loop)]
    moved = SECTOR * both(counts, "global_{}_sectors")
    cells = [name, launches, moved, ratio(moved, least), *sectors, *wavefronts, mma or "", ratio(mma, flops / MMA_FLOPS) if mma else "",
             ratio(counts["warp_instructions"], mma), ratio(loop["warp_instructions"], loop["mma"])]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def add(total, counts):
    for key, value in counts.items():
        if isinstance(value, dict):
            add(total.setdefault(key, {}), value)
        elif isinstance(value, int):
            total[key] = total.get(key, 0) + value


def table(step):
    heads = ["launches", "bytes", "÷ min", "sectors ÷ ideal", "in loops", "wavefronts ÷ ideal", "in loops", "mma", "÷ min",
             "instructions an mma", "in loops"]
    print("| kernel | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
    all_launches, all_bytes, all_flops, total = 0, 0, 0, {}
    for name, (launches, least, flops) in step.minima().items():
        counts = step.counted[name]
        if counts["launches"] != launches:
            sys.exit(f"{name}: {counts['launches']} launches, the plan has {launches}")
        print(row(f"`{name}`", launches, least, flops, counts))
        all_launches, all_bytes = all_launches + launches, all_bytes + least
        all_flops += flops if counts["mma"] else 0
        add(total, counts)
    print(row("the step", all_launches, all_bytes, all_flops, total))


def excess(step):
    """Lines of kernels above the limit; those of one family that differ in numbers alone together."""
    groups = defaultdict(lambda: {"kernels": set(), "requests": 0, "actual": 0, "ideal": 0})
    for name, counts in step.counted.items():
        lines = (step.folder / "kernels" / f"{name}.cu").read_text().splitlines()
        for place in counts["places"]:
            line = place["inlined_line"] or place["cuda_line"]
            text = lines[line - 1].strip() if line else place["ptx"]
            group = groups[place["space"], place["main_loop"], step.family[name], re.sub(r"\d+", "#", text)]
            group["kernels"].add(name)
            group.setdefault("at", f"{name}.cu:{line}: {text}")
            group.setdefault("ptx", place["ptx"])
            for key in ("requests", "actual", "ideal"):
                group[key] += place[key]
    above = [(key, group) for key, group in groups.items() if group["actual"] > LIMIT * group["ideal"]]
    above.sort(key=lambda item: (not item[0][1], item[0][0], item[1]["ideal"] - item[1]["actual"]))
    return above


def lines_above(step):
    above = excess(step)
    for loops in (True, False):
        print(f"\n### Above the ideal by more than 5 %, {'in main loops' if loops else 'elsewhere'}\n")
        print("| | family (kernels) | PTX | requests | actual | ideal | ÷ | first at |")
        print("|---|---|---|---:|---:|---:|---:|---|")
        for (space, main_loop, family, _), group in above:
            if main_loop != loops:
                continue
            unit = "wavefronts" if space == "shared" else "sectors"
            at = group["at"].replace("|", "\\|")
            cells = [unit, f"{family} ({len(group['kernels'])})", group["ptx"], group["requests"], group["actual"], group["ideal"],
                     ratio(group["actual"], group["ideal"]), f"`{at}`"]
            print("| " + " | ".join(str(cell) for cell in cells) + " |")


def main(build, simulator, specs):
    print(f"# A training step on the PTX simulator, counted\n\nAssumptions:\n\n{ASSUMPTIONS}")
    for spec in specs:
        with tempfile.TemporaryDirectory() as work:
            step = Step(spec.resolve(), build, simulator, Path(work))
            print(f"\n## {spec.stem}: {step.tokens} tokens (planned for {step.max_tokens}), sm_80\n")
            table(step)
            lines_above(step)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), [Path(name) for name in sys.argv[3:]] or SPECS)
