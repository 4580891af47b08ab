"""Signals: each in each phase of a run, once and twice in a row. Right is: a checkpoint of that very step, 128+n, and a resumed
run that ends in the undisturbed one's bytes."""
import os
import random
import signal
import time

from programs import STATE_KEYS, checkpoints, last_step, prepare, reference
from tally import Bad
from tracing import kill, tracee
from trials import Trial, sample

SIGNALS = ("TERM", "INT", "HUP", "USR1", "USR2", "XCPU")
GAPS = (0.0002, 0.002, 0.02)  # seconds between two of them
# Phase: the program that runs, and the one with the same steps that saves at each, with which checkpoints are compared.
PHASES = {"start": ("long", "longsaved"), "step": ("long", "longsaved"), "save": ("longsaved", "longsaved"),
          "eval": ("text", "textsaved"), "swap": ("swap", "swapsaved"), "end": ("long", "longsaved")}

# A run that is stopped in an evaluation has it before it when it goes on.
STATE_BUT_EVALS = tuple(key for key in STATE_KEYS if key != "evals")


def slow_compiler(bench):
    """A lorac that takes half a second more for a program, so that a signal finds the run waiting."""
    script = bench.work / "slow-lorac"
    if not script.exists():
        script.write_text(f'#!/bin/sh\ncase " $* " in *" --probe "*) ;; *) sleep 0.5 ;; esac\nexec "{bench.lorac}" "$@"\n')
        script.chmod(0o755)
    return script


def wait_for(process, reached, patience=20):
    begin = time.monotonic()
    while process.poll() is None and time.monotonic() - begin < patience:
        if reached():
            return True
        time.sleep(0.0003)
    return False


def has_child(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return bool(file.read().split())
    except OSError:
        return False


def trial(bench, phase, name, gap, number, seed):
    draw = random.Random(f"{seed} {phase} {name} {gap} {number}")
    program, saved = PHASES[phase]
    code = getattr(signal, "SIG" + name)

    def begin(out):
        """The run, and when the signal is due."""
        words = bench.train(program, out)
        words = [slow_compiler(bench) if word is bench.lorac else word for word in words] if phase == "swap" else words
        slowed = phase in ("save", "end")
        if slowed:  # each sync takes 5 ms, so that the moment can be met
            words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=5000", *words]
        # In the phase "swap" no program is in the cache, so that a compiler is waited for; kernels are.
        cache = out.parent / "cache" if phase == "swap" else bench.cache
        if phase == "swap":
            bench.share_kernels(cache)
        process = bench.start(words, LORAC_CACHE_DIR=str(cache))
        at = draw.randrange(2, 12)
        if phase == "start":
            time.sleep(draw.uniform(0.0, 0.03))
            return process, process.pid
        pid = process.pid
        if slowed:
            wait_for(process, lambda: tracee(process) is not None)
            pid = tracee(process) or process.pid
        if phase == "step":
            wait_for(process, lambda: last_step(out) >= at)
        elif phase == "eval":
            wait_for(process, lambda: last_step(out) >= at // 2 * 2)
        elif phase == "save":
            wait_for(process, lambda: any(f"checkpoint-{at}" in entry and "tmp" in entry for entry in os.listdir(out)) if out.exists() else False)
        elif phase == "swap":
            wait_for(process, lambda: last_step(out) >= 1 and has_child(pid))
        elif phase == "end":
            wait_for(process, lambda: last_step(out) >= 60)
        time.sleep(draw.uniform(0.0, 0.004))
        return process, pid

    def act(folder):
        out = folder / "out"
        process, pid = begin(out)
        for _ in range(2 if gap else 1):
            try:
                os.kill(pid, code)
            except ProcessLookupError:
                pass
            if gap:
                time.sleep(gap)
        outcome = bench.finish(process)
        return judge(out, outcome)

    def judge(out, outcome):
        whole, each = reference(bench, program), reference(bench, saved)
        if outcome.hung:
            raise Bad("other", "hangs")
        done = last_step(out)
        if outcome.rc == 0:
            whole.check_end(out)
            return "done"
        if outcome.rc == -code and phase == "start" and done == 0:
            ended = "at once"  # before the handlers stand there is nothing to lose
        elif outcome.rc == 128 + code:
            ended = "saved"
            steps = checkpoints(out)
            if done and (not steps or steps[-1] != done):
                raise Bad("lost", f"ended at step {done} with checkpoints of {steps}")
            if done and "--resume" not in outcome.err:
                raise Bad("other", f"does not say how to go on: {outcome.last_words()}")
        elif outcome.rc == -code:
            raise Bad("lost", f"dies of SIG{name} after step {done} with checkpoints of {checkpoints(out)}")
        else:
            raise Bad("other", f"exit {outcome.rc} instead of {128 + code}: {outcome.last_words()}")
        each.check_standing(out, keys=STATE_BUT_EVALS)
        again = bench.run(bench.train(program, out, "--resume", "--quiet"))
        if again.rc != 0:
            raise Bad("lost", f"cannot be resumed: exit {again.rc}: {again.last_words()}")
        whole.check_end(out)
        return ended

    times = f" twice, {gap * 1000:g} ms apart" if gap else ""
    return Trial("signals", f"{phase}{times}", f"signals:{phase}:{name}:{gap}:{number}", act,
                 [f"# SIG{name}{times} in phase {phase} of a run of {program}"])


def trials(bench, seed, share):
    """156 at share 1: each signal once in each phase twice, and twice with each gap."""
    prepare(bench, sorted({program for pair in PHASES.values() for program in pair}))
    for program in sorted({program for pair in PHASES.values() for program in pair}):
        reference(bench, program)
    all_of = [trial(bench, phase, name, 0, number, seed) for phase in PHASES for name in SIGNALS for number in range(2)]
    all_of += [trial(bench, phase, name, gap, 0, seed) for phase in ("step", "save", "eval", "swap") for name in SIGNALS
               for gap in GAPS]
    return sample(seed, all_of, max(1, round(len(all_of) * share)))
