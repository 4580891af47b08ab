"""What was tried and what was bad, by kind of trial; and the table at the end."""
import collections
import threading

KINDS = ("lost", "silent", "mixed", "words", "other")
MEANS = {"lost": "work that stood is gone, or cannot be gone on from",
         "silent": "other bytes, or a damaged file, with exit 0 or without a word",
         "mixed": "files of different runs side by side",
         "words": "a run ended since its words could not be written",
         "other": "a crash, a hang, a wrong exit code, files left behind"}


class Bad(Exception):
    """A trial that went wrong: its kind (of KINDS) and what was seen."""

    def __init__(self, kind, what):
        super().__init__(what)
        assert kind in KINDS
        self.kind = kind


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.tried = collections.Counter()  # by part
        self.by_row = {}  # (part, row) -> Counter of outcomes
        self.bad = collections.Counter()  # by (part, kind)

    def count(self, part, row, outcome, times=1):
        """`times` trials of a row ended in `outcome`, which is fine."""
        with self.lock:
            self.tried[part] += times
            self.by_row.setdefault((part, row), collections.Counter())[outcome] += times

    def complain(self, part, row, bad, reproduce, times=1):
        with self.lock:
            self.tried[part] += times
            self.bad[part, bad.kind] += times
            self.by_row.setdefault((part, row), collections.Counter())[bad.kind.upper()] += times
            print(f"BAD ({bad.kind}) {part} {row}: {bad}\n  reproduce: {reproduce}", flush=True)

    def badness(self):
        return sum(self.bad.values())

    def rows(self):
        for (part, row), outcomes in sorted(self.by_row.items()):
            yield part, row, outcomes

    def table(self):
        lines = ["", f"{'part':<9} {'trial':<34} {'tried':>8}  outcomes"]
        for part, row, outcomes in self.rows():
            words = ", ".join(f"{name} {count}" for name, count in outcomes.most_common())
            lines.append(f"{part:<9} {row:<34} {sum(outcomes.values()):>8}  {words}")
        lines.append("")
        lines.append(f"{'part':<9} {'tried':>8} " + " ".join(f"{kind:>7}" for kind in KINDS))
        for part, tried in self.tried.items():
            lines.append(f"{part:<9} {tried:>8} " + " ".join(f"{self.bad[part, kind]:>7}" for kind in KINDS))
        total = {kind: sum(count for (_, found), count in self.bad.items() if found == kind) for kind in KINDS}
        lines.append("")
        lines.append(f"{total['lost']} lost, {total['silent']} silent, {total['mixed']} mixed, "
                     f"{total['words']} runs ended by words, {total['other']} other")
        return "\n".join(lines)
