"""passes_hold.py LORAC_OPT SOURCE COUNT SEED: see passes-hold.sh."""

import pathlib
import random
import re
import subprocess
import sys

opt, source, count, seed = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
help_text = subprocess.run([opt, "--help"], capture_output=True, text=True, check=True).stdout
passes = sorted(set(re.findall(r"^\s+--(lora-(?!emit)[a-z0-9-]+)", help_text, re.M)))
assert len(passes) > 12, f"lorac-opt lists {len(passes)} passes: {passes}"
devices = [name + "=device=cuda" for name in passes if re.search(rf"--{name} .*?\n(?:\s+--[a-z-]+=.*\n)*\s+--device=", help_text)]

modules = []
for path in sorted(source.glob("tests/lit/**/*.mlir")):
    modules += path.read_text().split("// -----")
for path in sorted(source.glob("generated/tiny_lora/[1-5]*.mlir")):
    modules.append(path.read_text())


def mutated(text, rng):
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif kind == 2:  # another operand, size or symbol of the same line's kind
            lines[at] = re.sub(r"%[a-z0-9_]+$|\d+x", lambda m: rng.choice([m.group(0), "2x", "0x", "7x"]) if m.group(0)[-1] == "x" else m.group(0), lines[at])
        else:
            words = re.findall(r"%\w+", text)
            if words:
                lines[at] = re.sub(r"%\w+(?=[,)])", lambda m: rng.choice(words), lines[at], count=1)
    return "\n".join(lines)


rng = random.Random(seed)
parsed = ran = refused = 0
failures = []
tries = 0
while parsed < count and tries < 40 * count:
    tries += 1
    text = rng.choice(modules)
    text = mutated(text, rng) if rng.random() < 0.9 else text
    name = rng.choice(passes)
    argument = "--" + name
    if rng.random() < 0.3 and name + "=device=cuda" in devices:
        argument += "=device=cuda"
    done = subprocess.run([opt, argument], input=text, capture_output=True, text=True, timeout=60)
    if done.returncode < 0 or done.returncode >= 128:
        failures.append((argument, done.returncode, text, done.stderr[-1500:]))
        print(f"{argument} died ({done.returncode}) of:\n{text}\n{done.stderr[-1500:]}")
        parsed += 1
    elif done.returncode == 0:
        parsed += 1
        ran += 1
    elif subprocess.run([opt], input=text, capture_output=True, text=True).returncode == 0:
        parsed += 1  # the pass itself refused
        refused += 1
        if not re.search(r"error: ", done.stderr):
            failures.append((argument, done.returncode, text, done.stderr))
            print(f"{argument} failed without a word:\n{text}")
print(f"{parsed} modules that parse, of {tries}: {ran} ran, {refused} were refused, {len(failures)} failed; {len(passes)} passes")
assert parsed >= count, "too few of the modules parsed"
assert refused > 0 and ran > refused / 4
sys.exit(1 if failures else 0)
