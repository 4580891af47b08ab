"""comments.py ROOT: every comment behind a declaration stands on the line on which the declaration begins.

clang-format wraps a declaration whose comment makes it too long, and the comment then stands behind the rest of it:
`int64_t heads =`, below it `0; ///< of a row`. Such a comment goes above the member."""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
faults = []
for top in ("compiler", "dsl", "runtime", "tests"):
    for path in sorted((root / top).rglob("*")):
        if path.suffix not in (".cpp", ".h"):
            continue
        above = ""
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            begun = not re.search(r"[;{}(,:]\s*$|\*/\s*$|^\s*$|^\s*#|//", above)  # a declaration that goes on in this line
            if begun and (re.search(r"\S\s*///<", line) or (above.endswith("=") and re.match(r"\s*[\w.{}]+; +//", line))):
                faults.append(f"{path.relative_to(root)}:{number}: the comment goes above '{above.strip()}'")
            above = line
print("\n".join(faults) or "every comment stands where its declaration begins")
sys.exit(1 if faults else 0)
