"""The programs under trial: training binaries compiled from the tiny specs, what their undisturbed runs leave, and how another
run's folder is compared with that."""
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

from tally import Bad

# Keys of metrics that a clock or the machine's memory decides.
VOLATILE = {"tokens_per_second", "peak_memory_bytes", "peak_host_memory_bytes", "resident_bytes", "hidden_ms", "waited_ms",
            "kernels_built", "kernels_from_cache"}
# What of trainer_state.json two runs have in common; the rest counts bytes of metrics or milliseconds.
STATE_KEYS = ("step", "updates", "epoch", "micro", "num_input_tokens_seen", "first_loss", "last_loss", "evals",
              "target", "model", "data", "spec", "files")
RANK_KEYS = ("triplets", "stored", "requested", "next", "swap_step", "live_at_request", "pace")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
LEFT_OVER = re.compile(r"\.tmp-|\.part(ial)?\.|^\.lorac-")
PATIENCE = 30  # seconds that a trial may take


class Outcome:
    """How a command ended: rc as subprocess has it (-n: by signal n)."""

    def __init__(self, rc, out, err, hung=False):
        self.rc, self.out, self.err, self.hung = rc, out, err, hung

    def last_words(self):
        lines = [line for line in self.err.strip().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "(no word)"


class Bench:
    """Folders, environment and the binaries of one session."""

    def __init__(self, build, source, work):
        self.build, self.source, self.work = build, source, work
        self.lorac = build / "lorac"
        self.cache = build / "reliability-cache"
        self.share_kernels(self.cache)
        self.environment = dict(os.environ, LC_ALL="C", NO_COLOR="1", LORAC_CACHE_DIR=str(self.cache))
        self.programs = {}
        self.lock = threading.Lock()
        self.serial = 0
        self.running = set()

    def share_kernels(self, cache):
        """A cache of its own but for its kernels, which are those of all tests."""
        kernels = self.build / "test-cache/kernels"
        for folder in (kernels, cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            (cache / "kernels").symlink_to(kernels)
        except FileExistsError:
            pass

    def start(self, words, cwd=None, **variables):
        """The command, in a process group of its own."""
        process = self.spawn([str(word) for word in words], dict(self.environment, **variables), cwd or self.source)
        with self.lock:
            self.running.add(process.pid)
        return process

    @staticmethod
    def spawn(words, environment, cwd):
        # A child that another thread has just forked holds what is open until it is another program: a binary that was
        # being written then cannot be run (ETXTBSY) until that child goes on.
        give_up = time.monotonic() + 10
        while True:
            try:
                return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment, cwd=cwd, start_new_session=True)
            except OSError as error:
                if error.errno != errno.ETXTBSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def finish(self, process, patience=PATIENCE):
        outcome = finish(process, patience)
        with self.lock:
            self.running.discard(process.pid)
        return outcome

    def kill_all(self):
        """What this session has started and not seen end."""
        for group in list(self.running):
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def folder(self, name):
        """A fresh name for a folder that does not exist yet."""
        with self.lock:
            self.serial += 1
            path = self.work / "try" / f"{name}-{self.serial}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def run(self, words, cwd=None, patience=PATIENCE):
        return self.finish(self.start(words, cwd), patience)

    def must(self, words, **options):
        outcome = self.run(words, **options)
        if outcome.rc != 0:
            raise SystemExit(f"cannot prepare: {' '.join(map(str, words))}\nexit code {outcome.rc}\n{outcome.err}")
        return outcome

    def train(self, name, out, *more, threads=1):
        """The command of a run of a program of `programs`."""
        return [self.programs[name] / "train", "--threads", str(threads), "--out", out, "--lorac", self.lorac, *more]


def finish(process, patience):
    try:
        out, err = process.communicate(timeout=patience)
        return Outcome(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Outcome(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), hung=True)


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return None


def checkpoint(folder):
    """A checkpoint as two runs can be compared; None when it has no readable state."""
    try:
        state = json.loads((folder / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return None
    kept = {key: state.get(key) for key in STATE_KEYS}
    if isinstance(state.get("ranks"), dict):
        kept["ranks"] = {key: state["ranks"].get(key) for key in RANK_KEYS}
    for name in (*ADAPTER, "optimizer.safetensors"):
        kept["bytes of " + name] = read(folder / name)
    return kept


def metrics(folder):
    """The lines of metrics.jsonl without what varies; a line that is no JSON as its text."""
    lines = []
    for line in (read(folder / "metrics.jsonl") or b"").decode(errors="replace").splitlines():
        try:
            lines.append({key: value for key, value in json.loads(line).items() if key not in VOLATILE})
        except (ValueError, AttributeError):
            lines.append(line)
    return lines


def last_step(folder):
    """The last step that metrics.jsonl tells of; 0 when there is none."""
    last = 0
    for line in metrics(folder):
        if isinstance(line, dict) and "loss" in line:
            last = max(last, line["step"])
    return last


def adapter(folder):
    return tuple(read(folder / name) for name in ADAPTER)


def checkpoints(folder):
    """Steps of the checkpoint folders, ascending."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(int(name[11:]) for name in names if re.fullmatch(r"checkpoint-\d+", name))


def difference(key, mine, theirs):
    if isinstance(mine, bytes) or isinstance(theirs, bytes):
        return f"{key} ({'absent' if mine is None else str(len(mine)) + ' bytes'})"
    return f"{key}: {str(mine)[:120]} instead of {str(theirs)[:120]}"


class Reference:
    """What an undisturbed run leaves."""

    def __init__(self, folder):
        self.folder = folder
        self.adapter = adapter(folder)
        self.metrics = metrics(folder)
        self.checkpoints = {step: checkpoint(folder / f"checkpoint-{step}") for step in checkpoints(folder)}
        self.steps = max(self.checkpoints, default=0)
        if None in self.adapter or not self.checkpoints or not self.metrics:
            raise SystemExit(f"cannot prepare: the undisturbed run in '{folder}' is not whole")

    def check_standing(self, out, others=(), keys=None):
        """Whatever stands in `out`, now and without a further word, is whole and of one run. `keys`: of trainer_state.json, when
        not all are compared."""
        for step in checkpoints(out):
            self.check_checkpoint(out, step, keys)
        pair = adapter(out)
        allowed = [self.adapter, (None, None), *others]
        # Where there was none before, a half is no mixture: whoever reads it is told of the file that is missing.
        half = not others and all(mine in (None, whole) for mine, whole in zip(pair, self.adapter))
        if pair not in allowed and not half:
            halves = [{which[i] for which in allowed} for i in (0, 1)]
            if pair[0] in halves[0] and pair[1] in halves[1]:
                raise Bad("mixed", f"'{out}' has adapter_config.json and adapter_model.safetensors of different runs")
            raise Bad("silent", f"the adapter in '{out}' is of no run")

    def check_checkpoint(self, out, step, keys=None):
        mine, theirs = checkpoint(out / f"checkpoint-{step}"), self.checkpoints.get(step)
        if theirs is None:
            return
        if mine is None:
            raise Bad("silent", f"'{out}/checkpoint-{step}' is named as saved and has no readable trainer_state.json")
        wrong = [difference(key, mine.get(key), theirs[key]) for key in theirs
                 if mine.get(key) != theirs[key] and (keys is None or key in keys or key not in STATE_KEYS)]
        if wrong:
            raise Bad("silent", f"'{out}/checkpoint-{step}' differs: " + "; ".join(wrong))

    def check_end(self, out, missing=False, lines=True, left=True):
        """A run that ended in `out` left what this one did. `missing`: checkpoints may be, it was said; `lines`: the metrics must
        be equal; `left`: nothing may be left behind."""
        if adapter(out) != self.adapter:
            raise Bad("silent", f"the adapter in '{out}' differs")
        for step in self.checkpoints:
            if step in checkpoints(out):
                self.check_checkpoint(out, step)
            elif not missing:
                raise Bad("silent", f"'{out}/checkpoint-{step}' is missing, and nothing was said")
        if lines and metrics(out) != self.metrics:
            mine = metrics(out)
            at = next((i for i, (a, b) in enumerate(zip(mine, self.metrics)) if a != b), min(len(mine), len(self.metrics)))
            raise Bad("silent", f"'{out}/metrics.jsonl' differs at line {at + 1}: {len(mine)} lines instead of "
                                f"{len(self.metrics)}")
        names = [str(path.relative_to(out)) for path in out.rglob("*") if LEFT_OVER.search(path.name)]
        if names and left:
            raise Bad("other", f"left behind in '{out}': {', '.join(sorted(names)[:4])}")


TEXT_SPEC = """[model]
source = "{model}"
[adapter]
r = 4
lora_alpha = 8
target_modules = "all-linear"
[optimizer]
learning_rate = 5e-3
[[data]]
path = "{source}/tests/fixtures/prose.md"
format = "text"
separator = "\\n\\n"
eval_fraction = 0.2
overlong = "split"
[train]
batch_size = 2
max_length = 32
[target]
device = "cpu"
"""


def compile_program(bench, name, spec, settings):
    folder = bench.work / "programs" / name
    if not (folder / "train").exists():
        sets = [word for setting in settings for word in ("--set", setting)]
        bench.must([bench.lorac, "compile", spec, "-o", folder, *sets])
    bench.programs[name] = folder


def prepare(bench, names):
    """Compiles the programs named, of:
    lora, qlora, adalora  short runs that save at each step (or second) - adalora with two programs
    long, longsaved       40 steps, without and with a checkpoint a step
    text                  held-out samples are evaluated often
    swap                  AdaLoRA, of which a program is asked for early, and many steps"""
    short = ["adapter.lora_dropout=0.1", "train.steps=4", "train.save_steps=1"]
    specs = bench.source / "specs"
    recipes = {
        "lora": (specs / "tiny_lora.toml", short),
        "qlora": (specs / "tiny_qlora.toml",
                  ["train.steps=4", "train.save_steps=2", "train.gradient_accumulation_steps=2"]),
        "adalora": (specs / "tiny_adalora.toml",
                    ["train.steps=16", "train.save_steps=4", "adapter.adalora.tinit=1", "adapter.adalora.tfinal=6",
                     "adapter.adalora.deltaT=4"]),
        "long": (specs / "tiny_lora.toml", ["train.steps=60", "train.save_steps=1000"]),
        "longsaved": (specs / "tiny_lora.toml", ["train.steps=60", "train.save_steps=1"]),
        "swap": (specs / "tiny_adalora.toml",
                 ["train.steps=20", "train.save_steps=1000", "adapter.adalora.tinit=1", "adapter.adalora.tfinal=10",
                  "adapter.adalora.deltaT=4"]),
        "swapsaved": (specs / "tiny_adalora.toml",
                      ["train.steps=20", "train.save_steps=1", "adapter.adalora.tinit=1", "adapter.adalora.tfinal=10",
                       "adapter.adalora.deltaT=4"]),
    }
    if "text" in names or "textsaved" in names:
        golden = bench.source / "tests/golden"
        model = bench.work / "model"
        model.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            shutil.copyfile(golden / "tiny/tied" / file, model / file)
        shutil.copyfile(golden / "tokenizer/bytelevel.tokenizer.json", model / "tokenizer.json")
        spec = bench.work / "text.toml"
        spec.write_text(TEXT_SPEC.format(model=model, source=bench.source))
        recipes["text"] = (spec, ["train.steps=20", "train.save_steps=1000", "train.eval_steps=2"])
        recipes["textsaved"] = (spec, ["train.steps=20", "train.save_steps=1", "train.eval_steps=2"])
    for name in names:
        compile_program(bench, name, *recipes[name])


def reference(bench, name, *more):
    """The undisturbed run of a program."""
    out = bench.work / "references" / (name + "".join(more))
    if not adapter(out)[1]:
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        bench.must(bench.train(name, out, *more))
    return Reference(out)
