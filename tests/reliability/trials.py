"""A trial: something that is done to lorac, by a name that says all of it, so that it can be done again."""
import concurrent.futures
import random
import shlex
import shutil

from tally import Bad


class Trial:
    """`name` decides everything that the trial does; `act(folder)` answers how it ended, or raises Bad. `shown`: the command that
    was tried, as a shell has it."""

    def __init__(self, part, row, name, act, shown=()):
        self.part, self.row, self.name, self.act = part, row, name, act
        self.shown = " ".join(shlex.quote(str(word)) for word in shown)


def sample(seed, trials, count):
    """`count` of the trials by the seed, each row's in proportion but at least one of each, in their order."""
    if count >= len(trials):
        return list(trials)
    draw = random.Random(seed)
    chosen = set(draw.sample(range(len(trials)), count))
    rows = {}
    for number, trial in enumerate(trials):
        rows.setdefault(trial.row, []).append(number)
    for numbers in rows.values():
        if not chosen.intersection(numbers):
            chosen.add(draw.choice(numbers))
    return [trials[number] for number in sorted(chosen)]


def perform(bench, tally, trials, jobs, again):
    """Runs them, `jobs` at a time. `again(name)`: the command that does one trial again."""

    def one(trial):
        folder = bench.folder(trial.part)
        folder.mkdir(parents=True)
        try:
            tally.count(trial.part, trial.row, trial.act(folder))
        except Bad as bad:
            tally.complain(trial.part, trial.row, bad, again(trial.name) + (f"\n  that is:   {trial.shown}" if trial.shown else ""))
            return
        except Exception as error:  # of this harness, or of the machine
            tally.complain(trial.part, trial.row, Bad("other", f"{type(error).__name__}: {error}"), again(trial.name))
            return
        shutil.rmtree(folder, ignore_errors=True)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, trials))
