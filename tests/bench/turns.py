"""Programs that train in turn: each a step or more, then it is stopped and the next goes on, so that a busy neighbour disturbs all alike.
One stopwatch for all: it stands while a program is stopped."""
import os
import signal
import subprocess
import time
from pathlib import Path

GLANCE = 0.0005  # seconds between looks at a program's progress


class Runner:
    """A program that adds a line with `mark` to the file `progress` after every step."""

    def __init__(self, words, progress, mark, log, environment):
        self.path, self.mark = progress, mark
        self.file, self.rest = None, b""
        self.ends = []  # of each step, by this program's stopwatch
        self.clock = 0.0
        self.processor_seconds = None  # those of its children included
        with open(log, "w") as file:
            self.process = subprocess.Popen([str(word) for word in words], stdout=file, stderr=file, env=environment)
        self.process.send_signal(signal.SIGSTOP)

    def seconds(self, begin, end):
        """Of the steps begin … end - 1, counted from 0; begin > 0."""
        return [self.ends[i] - self.ends[i - 1] for i in range(begin, end)]

    def steps_in_file(self):
        """Steps whose lines are new."""
        if self.file is None:
            if not self.path.exists():
                return 0
            self.file = open(self.path, "rb")
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        return sum(self.mark in line for line in lines)

    def builds(self):
        return any(path.read_text() for path in Path(f"/proc/{self.process.pid}/task").glob("*/children"))

    def ended(self):
        if self.processor_seconds is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.processor_seconds = usage.ru_utime + usage.ru_stime
        return True

    def run_to(self, goal):
        """Goes on until the end of a step, `goal` or a later one, that no program was built beside; None: to the end."""
        if self.ended() or (goal is not None and len(self.ends) >= goal):
            return
        self.process.send_signal(signal.SIGCONT)
        start, built, glances = time.monotonic() - self.clock, False, 0
        while not self.ended():
            new = self.steps_in_file()
            now = time.monotonic() - start
            glances += 1
            if new or glances % 40 == 0:
                built |= self.builds()
            if new:
                self.ends += [now] * new
                if goal is not None and len(self.ends) >= goal and not built:
                    break
                built = False
            time.sleep(GLANCE)
        self.clock = time.monotonic() - start
        if not self.ended():
            self.process.send_signal(signal.SIGSTOP)


def take_turns(runners, steps):
    """Runs all to their end, a step at a time."""
    try:
        for goal in [*range(1, steps), None]:
            for runner in runners:
                runner.run_to(goal)
    finally:
        for runner in runners:
            if not runner.ended():
                runner.process.kill()
                runner.process.wait()
    for runner in runners:
        if runner.process.returncode != 0:
            raise SystemExit(f"{runner.process.args[0]} failed ({runner.process.returncode})")
