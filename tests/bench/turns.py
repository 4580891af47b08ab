"""Programs that train in turn: each some steps, then it is stopped and the next goes on, so that a busy neighbour disturbs all alike."""
import os
import signal
import subprocess
import time
from pathlib import Path


class Runner:
    """A program that adds a line with `mark` to `progress` after every step."""

    def __init__(self, words, progress, mark, log, environment):
        self.progress, self.mark = progress, mark
        self.paused = set()  # steps, from 0, that lasted while others had their turn
        self.processor_seconds = None
        with open(log, "w") as file:
            self.process = subprocess.Popen([str(word) for word in words], stdout=file, stderr=file, env=environment)
        self.process.send_signal(signal.SIGSTOP)

    def steps(self):
        return self.progress.read_bytes().count(self.mark) if self.progress.exists() else 0

    def builds(self):
        return any(path.read_text() for path in Path(f"/proc/{self.process.pid}/task").glob("*/children"))

    def ended(self):
        if self.processor_seconds is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.processor_seconds = usage.ru_utime + usage.ru_stime  # those of its children included
        return True

    def run_to(self, goal):
        """Goes on until `goal` steps are done and no program is being built; None: to the end."""
        if self.ended():
            return
        self.process.send_signal(signal.SIGCONT)
        while not self.ended() and (goal is None or self.steps() < goal or self.builds()):
            time.sleep(0.002)
        if not self.ended():
            self.process.send_signal(signal.SIGSTOP)
            self.paused.add(self.steps())


def take_turns(runners, steps, turn):
    """Runs all to their end. Turns change in the middle between multiples of `turn`."""
    try:
        for goal in [*range(turn // 2, steps, turn), None]:
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
