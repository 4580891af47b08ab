"""Kills: at every write-class call, and at random moments; each run is then resumed to its end, and all that it leaves is
compared with an undisturbed run's."""
import random
import shutil
import time

import exports
from programs import adapter, checkpoint, checkpoints, prepare, reference
from tally import Bad
from tracing import WRITES, count_calls, injected, kill
from trials import Trial, sample

# A run with AdaLoRA starts compilers: strace follows only the run itself, so that the n-th call is its own.
FOLLOW = {"lora": True, "qlora": True, "adalora": False}


def resumed_to_the_end(bench, name, whole, out, others=()):
    """What stands is whole; the run goes on to the undisturbed one's bytes."""
    whole.check_standing(out, others)
    outcome = bench.run(bench.train(name, out, "--resume", "--quiet"))
    if outcome.rc != 0:
        raise Bad("lost", f"cannot be resumed: exit code {outcome.rc}: {outcome.last_words()}")
    whole.check_end(out)


def at_calls(bench, name, whole):
    """A kill at each write-class call of a run, from an empty folder."""
    log = bench.work / f"calls-{name}"
    counts, _ = count_calls(bench, bench.train(name, bench.folder("count")), WRITES, log, FOLLOW[name])

    def trial(call, n):
        def act(folder):
            out = folder / "out"
            outcome = bench.run(injected(bench.train(name, out), call, "signal=KILL", n, FOLLOW[name]))
            if outcome.hung:
                raise Bad("other", "hangs")
            resumed_to_the_end(bench, name, whole, out)
            return "killed" if outcome.rc in (-9, 137) else "over before"

        return Trial("kills", f"{name} at {call}", f"kills:{name}:{call}:{n}", act,
                     injected(bench.train(name, "OUT"), call, "signal=KILL", n, FOLLOW[name]))

    return [trial(call, n) for call in sorted(counts) for n in range(1, counts[call] + 1)]


def over_a_finished_run(bench, name, whole, before):
    """A kill at each write-class call of a run that goes on from a finished, shorter one and replaces its adapter."""
    log = bench.work / f"calls-more-{name}"
    old = before.folder
    first = bench.folder("count")
    shutil.copytree(old, first)
    counts, _ = count_calls(bench, bench.train(name, first, "--resume"), WRITES, log, FOLLOW[name])

    def trial(call, n):
        def act(folder):
            out = folder / "out"
            shutil.copytree(old, out)
            bench.run(injected(bench.train(name, out, "--resume"), call, "signal=KILL", n, FOLLOW[name]))
            if None in adapter(out):
                raise Bad("lost", "the finished adapter is gone, and no better one is complete")
            resumed_to_the_end(bench, name, whole, out, [before.adapter])
            return "killed"

        return Trial("kills", f"{name} over a finished run", f"kills:more-{name}:{call}:{n}", act,
                     injected(bench.train(name, "COPY_OF_FINISHED_RUN", "--resume"), call, "signal=KILL", n, FOLLOW[name]))

    return [trial(call, n) for call in sorted(counts) for n in range(1, counts[call] + 1)]


def over_another_run(bench, name, whole, before):
    """A kill at each write-class call of a run with --overwrite in the folder of a finished one, of other ranks."""
    log = bench.work / f"calls-other-{name}"
    first = bench.folder("count")
    shutil.copytree(before.folder, first)
    counts, _ = count_calls(bench, bench.train(name, first, "--overwrite"), WRITES, log, FOLLOW[name])

    def trial(call, n):
        def act(folder):
            out = folder / "out"
            shutil.copytree(before.folder, out)
            bench.run(injected(bench.train(name, out, "--overwrite"), call, "signal=KILL", n, FOLLOW[name]))
            pair = adapter(out)
            if pair == (None, None):
                if not any(checkpoint(out / f"checkpoint-{step}") == whole.checkpoints.get(step) for step in checkpoints(out)):
                    raise Bad("lost", "the finished adapter is gone, and neither a better one nor a checkpoint of one is there")
            elif pair not in (before.adapter, whole.adapter):
                raise Bad("mixed" if None not in pair else "lost", "the adapter that stands is neither run's")
            outcome = bench.run(bench.train(name, out, "--overwrite", "--quiet"))
            if outcome.rc != 0:
                raise Bad("lost", f"cannot be begun again: exit code {outcome.rc}: {outcome.last_words()}")
            whole.check_end(out)
            return "killed"

        return Trial("kills", f"{name} over another run", f"kills:other-{name}:{call}:{n}", act,
                     injected(bench.train(name, "COPY_OF_ANOTHER_RUN", "--overwrite"), call, "signal=KILL", n, FOLLOW[name]))

    return [trial(call, n) for call in sorted(counts) for n in range(1, counts[call] + 1)]


def at_moments(bench, name, whole, seed, count):
    """Up to three kills of one run, each at a random moment."""
    begin = time.monotonic()
    bench.must(bench.train(name, bench.folder("time")))
    length = time.monotonic() - begin
    draw = random.Random(f"{seed} moments {name}")

    def trial(number, moments):
        def act(folder):
            out = folder / "out"
            killed = 0
            for moment in moments:
                process = bench.start(bench.train(name, out, "--resume"))
                time.sleep(moment)
                kill(process)
                killed += bench.finish(process).rc == -9
                whole.check_standing(out)
            resumed_to_the_end(bench, name, whole, out)
            return "killed" if killed else "over before"

        return Trial("kills", f"{name} at moments", f"kills:{name}:moment:{number}", act,
                     [f"# {name} killed after", *(f"{moment:.4f} s" for moment in moments)])

    return [trial(number, [draw.uniform(0, 1.1 * length) for _ in range(draw.choice((1, 1, 2, 3)))]) for number in range(min(count, 200))]


def trials(bench, seed, share):
    """About 780 at share 1."""
    prepare(bench, ["lora", "qlora", "adalora"])
    whole = {name: reference(bench, name) for name in ("lora", "qlora", "adalora")}
    part = lambda count: max(1, round(count * share))
    out = sample(seed, at_calls(bench, "lora", whole["lora"]), part(260))
    out += sample(seed, at_calls(bench, "qlora", whole["qlora"]), part(100))
    out += sample(seed, at_calls(bench, "adalora", whole["adalora"]), part(80))
    before = reference(bench, "lora", "--steps", "2")
    out += sample(seed, over_a_finished_run(bench, "lora", whole["lora"], before), part(60))
    out += sample(seed, over_another_run(bench, "qlora", whole["qlora"], whole["lora"]), part(50))
    for name, count in (("lora", 80), ("qlora", 50), ("adalora", 40)):
        out += at_moments(bench, name, whole[name], seed, part(count))
    out += sample(seed, exports.kills(bench), part(60))
    return out
