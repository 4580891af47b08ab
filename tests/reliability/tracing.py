"""strace: which calls a command makes, and faults or kills at the n-th of one."""
import collections
import re
import signal
import subprocess


WRITES = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "openat", "mkdir", "mkdirat", "close",
          "unlink", "unlinkat", "rmdir", "ftruncate", "fchmod", "link", "linkat", "copy_file_range", "sendfile")
READS = ("read", "pread64", "newfstatat", "fstat", "statx", "lseek", "mmap", "getdents64", "flock", "fcntl", "ioctl",
         "memfd_create", "clone3", "pidfd_open", "wait4", "readlink", "access", "statfs", "fstatfs", "pwritev")
NAMES = set()


def known(calls):
    """Those that this strace knows."""
    global NAMES
    if not NAMES:
        for call in WRITES + READS:
            if subprocess.run(["strace", "-e", f"trace={call}", "-o", "/dev/null", "true"], capture_output=True).returncode == 0:
                NAMES.add(call)
    return [call for call in calls if call in NAMES]


def count_calls(bench, words, calls, log, follow=True):
    """How often the main process of `words` makes each call, and of its writes those to stdout and stderr (by number from 1)."""
    outcome = bench.run(["strace", *(["-f"] if follow else []), "-qq", "-o", log, "-e", "trace=" + ",".join(known(calls)), *words])
    if outcome.rc != 0:
        raise SystemExit(f"cannot prepare: {' '.join(map(str, words))} under strace: exit code {outcome.rc}\n{outcome.err}")
    counts, said, first = collections.Counter(), set(), None
    for line in open(log, errors="replace"):
        match = re.match(r"(?:(\d+)\s+)?(\w+)\((\d+)?", line)
        if not match:
            continue
        pid, call, fd = match.groups()
        first = first or pid
        if pid != first:
            continue
        counts[call] += 1
        if call == "write" and fd in ("1", "2"):
            said.add(counts[call])
    return counts, said


def injected(words, call, what, when, follow=True):
    """The command that runs `words` with `what` (error=EIO, signal=KILL) at the call's n-th time (`when`: 5, 5+)."""
    return ["strace", *(["-f"] if follow else []), "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
            f"inject={call}:{what}:when={when}", *words]


def tracee(strace):
    """The program that a strace has started; None when it is not there (any more). strace first forks to try itself."""
    try:
        with open(f"/proc/{strace.pid}/task/{strace.pid}/children") as file:
            children = file.read().split()
        for child in children:
            with open(f"/proc/{child}/comm") as file:
                if file.read().strip() != "strace":
                    return int(child)
    except OSError:
        pass
    return None


def kill(process, number=signal.SIGKILL):
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass
