"""dependencies.py ROOT: every include between folders is one that docs/design.md allows, and each that it allows is there."""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
table = re.search(r"\| folder \| holds \| includes \|\n\|[-|]+\|\n((?:\|.*\n)+)", (root / "docs/design.md").read_text())
assert table, "docs/design.md has no table of folders"
allowed = {}
for line in table.group(1).splitlines():
    name, _, includes = (cell.strip() for cell in line.strip("|").split("|"))
    allowed[name.strip("`/")] = {word for word in re.split(r"[,\s]+", includes) if word}


def folder_of(path):
    while path not in allowed and "/" in path:
        path = path.rsplit("/", 1)[0]
    return path


faults, used = [], set()
for top in ("compiler", "dsl", "runtime"):
    for path in sorted((root / top).rglob("*")):
        if path.suffix not in (".cpp", ".h", ".td", ".def", ".in"):
            continue
        source = folder_of(str(path.parent.relative_to(root)))
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            found = re.match(r'\s*#?\s*include\s+["<]((?:compiler|dsl|runtime|mlir|llvm|toml\+\+)/[^">]+)', line)
            if not found:
                continue
            name = found.group(1)
            target = folder_of(name.rsplit("/", 1)[0])
            place = f"{path.relative_to(root)}:{number}"
            if name.split("/")[0] in ("mlir", "llvm"):
                if top != "compiler":
                    faults.append(f"{place}: {top} includes no MLIR: {name}")
            elif name.startswith("toml++"):
                if top != "dsl":
                    faults.append(f"{place}: dsl alone reads TOML: {name}")
            elif target not in allowed:
                faults.append(f"{place}: docs/design.md has no folder of {name}")
            elif target != source and target not in allowed[source]:
                faults.append(f"{place}: {source} may not include {target}: {name}")
            elif target != source:
                used.add((source, target))
for source, targets in allowed.items():
    if not (root / source).is_dir():
        faults.append(f"docs/design.md: there is no folder {source}")
    faults += [f"docs/design.md: {source} includes nothing of {target}" for target in sorted(targets) if (source, target) not in used]
print("\n".join(faults) or f"{len(used)} edges between {len(allowed)} folders")
sys.exit(1 if faults else 0)
