"""I/O faults: every n-th call of a run fails, once or from then on. Right is: the run ends in the undisturbed one's bytes (and says
so where a save failed meanwhile), or it ends with a message and what stands can be gone on from to the same bytes."""
import shutil
import time

import exports
from programs import PATIENCE, Outcome, adapter, checkpoints, last_step, prepare, reference
from tally import Bad
from tracing import READS, WRITES, count_calls, injected, kill, tracee
from trials import Trial, sample

FOLLOW = {"lora": True, "qlora": True, "adalora": False}
SAVE_STEPS = {"lora": 1, "qlora": 2, "adalora": 4}
CRASHES = (70, -6, -7, -8, -11, 134, 135, 136, 139)
DISK = ("ENOSPC", "EIO", "EDQUOT")
# What each call may really answer. EINTR is tried once only: a call that is interrupted for ever is no machine's.
ERRORS = {
    "write": DISK + ("EINTR",), "pwrite64": DISK + ("EINTR",), "fsync": DISK + ("EINTR",), "fdatasync": DISK,
    "rename": DISK, "mkdir": DISK, "openat": ("EMFILE", "ENOSPC", "EIO", "ENOMEM", "EINTR"), "close": ("EIO", "EINTR", "ENOSPC"),
    "unlink": ("EIO",), "unlinkat": ("EIO",), "rmdir": ("EIO",), "ftruncate": ("EIO", "ENOSPC", "EINTR"), "fchmod": ("EIO",),
    "link": DISK, "copy_file_range": DISK, "sendfile": DISK,
    "read": ("EIO", "EINTR"), "pread64": ("EIO", "EINTR"), "newfstatat": ("EIO", "ENOMEM"), "fstat": ("EIO",),
    "statx": ("EIO",), "lseek": ("EIO",), "mmap": ("ENOMEM",), "getdents64": ("EIO",), "flock": ("EINTR", "ENOLCK"),
    "memfd_create": ("EMFILE", "ENOSPC"), "clone3": ("EAGAIN",), "pidfd_open": ("EMFILE",), "wait4": ("EINTR",),
    "statfs": ("EIO",), "fstatfs": ("EIO",), "readlink": ("EIO",), "access": ("EACCES",),
}


def sleeps(pid):
    """Whether the process waits in a timed sleep, as one does that tries again later."""
    try:
        with open(f"/proc/{pid}/syscall") as file:
            return file.read().split()[0] in ("35", "230")  # nanosleep, clock_nanosleep
    except (OSError, IndexError):
        return False


def run_under_fault(bench, words, patient):
    """A run that waits at its end for room gives up soon; a `patient` one is given room: strace dies, and its calls succeed again."""
    process = bench.start(words, LORAC_SAVE_WAIT="30" if patient else "0.3")
    slept = 0
    begin = time.monotonic()
    while patient and process.poll() is None and time.monotonic() - begin < PATIENCE:
        child = tracee(process)
        slept = slept + 1 if child and sleeps(child) else 0
        if slept == 5:
            kill(process)
            break
        time.sleep(0.01)
    outcome = bench.finish(process)  # also of the run that strace left behind: it has the pipes
    if slept < 5:
        return outcome, False
    # Its code is nobody's to read: by its words.
    return Outcome(0 if "done: " in outcome.err else 1, outcome.out, outcome.err, outcome.hung), True


def judge(bench, name, whole, out, outcome, mute, others=(), waited=False):
    """`mute`: words may have met the fault themselves."""
    if outcome.hung:
        raise Bad("other", "hangs")
    if outcome.rc in CRASHES:
        raise Bad("words" if mute else "other", f"exit {outcome.rc}: {outcome.last_words()}")
    words = outcome.err
    told = any(mark in words for mark in ("warning", "cannot", "error")) or mute
    # Without the smaller program ranks and adapter are what they would be; moments and metrics are those of the old one.
    # Where words met the fault too, whether there was one is not known.
    same_program = "no smaller program" not in words and not (mute and name == "adalora")
    if same_program:
        whole.check_standing(out, others)
    if outcome.rc == 0:
        if same_program:
            whole.check_end(out, missing=told, lines=not told, left=not told)
            if told:  # what could not be removed goes with the next run
                bench.run(bench.train(name, out, "--resume", "--quiet"))
                whole.check_end(out, missing=True, lines=False)
        elif adapter(out) != whole.adapter:
            raise Bad("silent", f"the adapter in '{out}' differs")
        return "done after waiting" if waited else "done, told" if told else "done"
    if not words.strip() and not mute:
        raise Bad("silent", f"exit {outcome.rc} without a word")
    newest, due = max(checkpoints(out), default=0), (last_step(out) - 1) // SAVE_STEPS[name] * SAVE_STEPS[name]
    if newest < due and not told:
        raise Bad("lost", f"ended after step {last_step(out)} with a checkpoint of step {newest}, unsaid")
    again = bench.run(bench.train(name, out, "--resume", "--quiet"))
    if again.rc != 0:
        raise Bad("lost", f"after exit {outcome.rc} ({outcome.last_words()}) it cannot be resumed: exit {again.rc}: {again.last_words()}")
    if same_program:
        whole.check_end(out, missing=told)
    elif adapter(out) != whole.adapter:
        raise Bad("silent", f"the adapter in '{out}' differs")
    return f"exit {outcome.rc}, resumed"


def of_runs(bench, name, whole, before=None, halfway=False):
    """All faults of a run: from an empty folder, or over the finished run `before`. `halfway`: of each call one, that stays."""
    label = name if before is None else f"{name} over a finished run"
    key = name if before is None else f"more-{name}"
    more = [] if before is None else ["--resume"]
    first = bench.folder("count")
    if before is not None:
        shutil.copytree(before.folder, first)
    log = bench.work / f"fault-calls-{key}"
    counts, said = count_calls(bench, bench.train(name, first, *more), [call for call in WRITES + READS if call in ERRORS], log, FOLLOW[name])
    loading = calls_of_the_loader(log)

    def trial(call, n, error, sticky):
        mute = call == "write" and (bool(sticky) or n in said)

        def act(folder):
            out = folder / "out"
            if before is not None:
                shutil.copytree(before.folder, out)
            words = injected(bench.train(name, out, *more), call, f"error={error}", f"{n}{sticky}", FOLLOW[name])
            outcome, waited = run_under_fault(bench, words, bool(sticky) and n % 3 == 0)
            return judge(bench, name, whole, out, outcome, mute, [] if before is None else [before.adapter], waited)

        return Trial("faults", f"{label}: {call}", f"faults:{key}:{call}:{error}:{n}{sticky}", act,
                     injected(bench.train(name, "OUT", *more), call, f"error={error}", f"{n}{sticky}", FOLLOW[name]))

    if halfway:  # what fails from the middle of the run on
        return [trial(call, max(1, counts[call] // 2), ERRORS[call][0], "+") for call in sorted(counts)
                if ERRORS[call][0] not in ("EINTR", "EAGAIN") and call != "mmap"]
    return [trial(call, n, error, sticky) for call in sorted(counts) for n in range(1, counts[call] + 1)
            for error in ERRORS[call] for sticky in ("", "+")
            if not (error in ("EINTR", "EAGAIN") and sticky) and not (call == "mmap" and n <= loading.get("mmap", 0))]


def calls_of_the_loader(log):
    """How often each call is made before the program is (ld.so dies of a failed mmap by itself)."""
    counts = {}
    for line in open(log, errors="replace"):
        if "/proc/self/exe" in line:
            return counts
        call = line.split("(")[0].split()[-1] if "(" in line else ""
        counts[call] = counts.get(call, 0) + 1
    return {}


def trials(bench, seed, share):
    """About 1,600 at share 1."""
    prepare(bench, ["lora", "qlora", "adalora"])
    whole = {name: reference(bench, name) for name in ("lora", "qlora", "adalora")}
    part = lambda count: max(1, round(count * share))
    out = of_runs(bench, "lora", whole["lora"], halfway=True)
    out += sample(seed, of_runs(bench, "lora", whole["lora"]), part(850))
    out += sample(seed, of_runs(bench, "qlora", whole["qlora"]), part(250))
    out += sample(seed, of_runs(bench, "adalora", whole["adalora"]), part(150))
    before = reference(bench, "lora", "--steps", "2")
    out += sample(seed, of_runs(bench, "lora", whole["lora"], before), part(200))
    out += sample(seed, exports.faults(bench), part(150))
    return out
