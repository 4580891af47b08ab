"""Kills and faults of `lorac export` over an older file, and of `lorac compile` over an older folder: the old one stays or the
new one stands."""
import shutil

from programs import adapter, prepare, read, reference
from tally import Bad
from tracing import READS, WRITES, count_calls, injected
from trials import Trial

ERRORS = ("ENOSPC", "EIO", "EMFILE", "EDQUOT", "EINTR")


class Export:
    """One export over an older one: `format` peft or gguf."""

    def __init__(self, bench, format):
        self.bench, self.format = bench, format
        prepare(bench, ["lora", "qlora"])
        self.run = reference(bench, "lora").folder
        self.older_run = reference(bench, "qlora").folder  # of other ranks
        home = bench.work / "exports" / format
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        self.old, self.new = home / "old", home / "new"
        bench.must(self.words(self.older_run, self.old))
        bench.must(self.words(self.run, self.new))
        self.before, self.after = self.content(self.old), self.content(self.new)

    def words(self, run, out):
        help_text = self.bench.run([self.bench.lorac, "export", "--help"]).out
        force = ["--force"] if "--force" in help_text else []
        return [self.bench.lorac, "export", run, "--format", self.format, "-o", out, *force]

    def content(self, path):
        return (read(path),) if self.format == "gguf" else adapter(path)

    def fresh(self, folder):
        """A copy of the older export, to be exported over."""
        out = folder / "out"
        folder.mkdir(parents=True, exist_ok=True)
        if self.format == "gguf":
            shutil.copyfile(self.old, out)
        else:
            shutil.copytree(self.old, out)
        return out

    def check(self, outcome, out, mute=False):
        """`mute`: words met the fault themselves."""
        if outcome.hung:
            raise Bad("other", "hangs")
        found = self.content(out)
        if found not in (self.before, self.after):
            both = [{a, b} for a, b in zip(self.before, self.after)]
            kind = "lost" if None in found else "mixed" if all(f in b for f, b in zip(found, both)) else "silent"
            raise Bad(kind, "neither the old export nor the new one")
        if outcome.rc == 0 and found != self.after:
            raise Bad("silent", "exit 0, and the old export stands")
        if outcome.rc not in (0, -9, 137) and not outcome.err.strip() and not mute:
            raise Bad("silent", f"exit {outcome.rc} without a word")
        if outcome.rc == 70 or outcome.rc in (-6, -11, -7, 134, 139):
            raise Bad("other", f"exit {outcome.rc}: {outcome.last_words()}")
        again = self.bench.run(self.words(self.run, out))
        if again.rc != 0 or self.content(out) != self.after:
            raise Bad("lost", f"cannot be exported again: exit {again.rc}: {again.last_words()}")
        return "new" if found == self.after else "old"

    def trial(self, part, call, what, when):
        def act(folder):
            out = self.fresh(folder)
            mute = call == "write" and "+" in str(when)
            return self.check(self.bench.run(injected(self.words(self.run, out), call, what, when)), out, mute)

        return Trial(part, f"export {self.format}", f"{part}:export-{self.format}:{call}:{what}:{when}", act,
                     injected(self.words(self.run, "OLDER_EXPORT"), call, what, when))

    def counts(self, calls):
        out = self.fresh(self.bench.folder("count-export"))
        return count_calls(self.bench, self.words(self.run, out), calls, self.bench.work / f"calls-export-{self.format}")


class Compile:
    """A compile over an older folder; what stands is a program that runs, the old or the new one."""

    def __init__(self, bench):
        self.bench = bench
        prepare(bench, ["lora"])
        self.old = bench.programs["lora"]
        home = bench.work / "compiles"
        self.new = home / "new"
        if not self.new.exists():
            home.mkdir(parents=True, exist_ok=True)
            bench.must(self.words(self.new))
        self.losses = [self.losses_of(self.old, home / "old-run"), self.losses_of(self.new, home / "new-run")]

    def words(self, out):
        return [self.bench.lorac, "compile", self.bench.source / "specs/tiny_lora.toml", "-o", out, "--set", "train.steps=2",
                "--set", "train.save_steps=2", "--set", "train.seed=8"]

    def losses_of(self, program, out):
        from programs import metrics
        shutil.rmtree(out, ignore_errors=True)
        outcome = self.bench.run([program / "train", "--quiet", "--threads", "1", "--steps", "2", "--out", out])
        return (outcome.rc, [line.get("loss") for line in metrics(out) if isinstance(line, dict)], outcome.last_words())

    def check(self, outcome, out, folder):
        if outcome.hung:
            raise Bad("other", "hangs")
        rc, losses, words = self.losses_of(out, folder / "run")
        found = [i for i, known in enumerate(self.losses) if known[:2] == (rc, losses)]
        if not found:
            raise Bad("lost" if rc else "silent", f"the program that stands is neither the old nor the new one: exit {rc}: {words}")
        if outcome.rc == 0 and 1 not in found:
            raise Bad("silent", "exit 0, and the old program stands")
        if outcome.rc == 70 or outcome.rc in (-6, -11, -7, 134, 139):
            raise Bad("other", f"exit {outcome.rc}: {outcome.last_words()}")
        again = self.bench.run(self.words(out))
        if again.rc != 0:
            raise Bad("lost", f"cannot be compiled again: exit {again.rc}: {again.last_words()}")
        left = [path.name for path in out.rglob("*") if ".part." in path.name or ".partial." in path.name or ".tmp-" in path.name]
        if left:
            raise Bad("other", f"left behind by the next compile: {', '.join(sorted(left)[:4])}")
        return "new" if 1 in found else "old"

    def trial(self, part, call, what, when):
        def act(folder):
            out = folder / "out"
            shutil.copytree(self.old, out)
            return self.check(self.bench.run(injected(self.words(out), call, what, when)), out, folder)

        return Trial(part, "compile", f"{part}:compile:{call}:{what}:{when}", act, injected(self.words("OLDER_PROGRAM"), call, what, when))

    def counts(self, calls):
        out = self.bench.folder("count-compile")
        shutil.copytree(self.old, out)
        return count_calls(self.bench, self.words(out), calls, self.bench.work / "calls-compile")


CHANGES = ("write", "pwrite64", "fsync", "rename", "mkdir", "unlink", "unlinkat", "rmdir", "ftruncate", "fchmod", "link")


def last_of(counts, calls, most):
    """The last `most` times of each call: what comes before is the loading of libraries."""
    return [(call, n) for call in sorted(counts) if call in calls for n in range(max(1, counts[call] - most + 1), counts[call] + 1)]


def kills(bench):
    out = []
    for format in ("peft", "gguf"):
        export = Export(bench, format)
        counts, _ = export.counts(CHANGES + ("openat", "close"))
        out += [export.trial("kills", call, "signal=KILL", n) for call, n in last_of(counts, counts, 12)]
    compile = Compile(bench)
    counts, _ = compile.counts(CHANGES)
    out += [compile.trial("kills", call, "signal=KILL", n) for call, n in last_of(counts, CHANGES, 6)]
    return out


def faults(bench):
    out = []
    for format in ("peft", "gguf"):
        export = Export(bench, format)
        counts, said = export.counts(CHANGES + READS + ("openat", "close"))
        for call, n in last_of(counts, counts, 8):
            if call == "write" and n in said:
                continue  # the line on stdout: what is printed last decides no file
            for error in ERRORS[:2] if call not in ("openat", "mkdir") else ERRORS[:3]:
                out += [export.trial("faults", call, f"error={error}", f"{n}{sticky}") for sticky in ("", "+")]
    compile = Compile(bench)
    counts, said = compile.counts(CHANGES)
    for call, n in last_of(counts, CHANGES, 6):
        if call == "write" and n in said:
            continue
        out += [compile.trial("faults", call, f"error={error}", f"{n}{sticky}") for error in ERRORS[:2] for sticky in ("", "+")]
    return out
