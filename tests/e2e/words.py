# Trains with a stderr that is lost in eight ways at four moments: each run ends with 0 and with the bytes of `whole`.
import fcntl, os, pathlib, pty, resource, shutil, subprocess, sys, time

train, work = sys.argv[1], pathlib.Path(sys.argv[2])
whole = work / "whole"


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*.safetensors"))}


def reached(out, moment):
    """Whether the run in `out` has come to the moment (or beyond it)."""
    metrics = out / "metrics.jsonl"
    lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
    if moment == "start":
        return True
    if moment == "step":
        return lines >= 5
    if moment == "save":
        return any(out.glob("checkpoint-20*"))
    return lines >= 58


class Way:
    """A stderr: `open` makes it, `lose` loses it, `pump` reads of it meanwhile."""
    atOnce = False  # lost from the first word on

    def open(self): raise NotImplementedError
    def lose(self, process): pass
    def pump(self): pass
    def close(self): pass


class Closed(Way):
    atOnce = True
    def open(self): return None


class File(Way):
    def __init__(self, path, flags): self.path, self.flags, self.atOnce = path, flags, True
    def open(self):
        self.fd = os.open(self.path, self.flags)
        return self.fd
    def close(self): os.close(self.fd)


class Head(Way):
    """`| head -n N`: it reads its lines and goes."""
    def __init__(self): self.head = None
    def open(self):
        read, self.write = os.pipe()
        lines = {"start": 0, **nthWord}[moment]
        self.head = subprocess.Popen(["head", "-n", str(lines)], stdin=read, stdout=subprocess.DEVNULL)
        os.close(read)
        if lines == 0:
            self.head.wait()
        return self.write
    def close(self):
        os.close(self.write)
        self.head.wait()


class Pipe(Way):
    """Its reader dies."""
    def open(self):
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.alive = True
        return self.write
    def pump(self):
        try:
            os.read(self.read, 65536)
        except OSError:
            pass
    def lose(self, process):
        if self.alive:
            os.close(self.read)
            self.alive = False
    def close(self): os.close(self.write)


class Blocked(Way):
    """Nobody reads any more, and the descriptor does not wait."""
    def open(self):
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.write, False)
        self.reads = True
        return self.write
    def pump(self):
        if self.reads:
            try:
                os.read(self.read, 65536)
            except BlockingIOError:
                pass
    def lose(self, process):
        self.reads = False
        while True:
            try:
                os.write(self.write, b"x" * 512)
            except BlockingIOError:
                break
    def close(self): os.close(self.write), os.close(self.read)


class FullDisk(Way):
    """A log that may grow no further: beyond a size that no file of the run has."""
    def open(self):
        self.fd = os.open(work / "log", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.ftruncate(self.fd, 1 << 32)
        return self.fd
    def lose(self, process):
        size = os.fstat(self.fd).st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    def close(self):
        os.close(self.fd)
        os.unlink(work / "log")


class Terminal(Way):
    """A terminal that hangs up, in a run that has no controlling terminal: EIO."""
    def open(self):
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.up = True
        return self.slave
    def pump(self):
        if self.up:
            try:
                os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                pass
    def lose(self, process):
        self.up = False
        os.close(self.master)
    def close(self): os.close(self.slave)


ways = {
    "closed": Closed,
    "/dev/full": lambda: File("/dev/full", os.O_WRONLY),
    "| head": Head,
    "a pipe whose reader dies": Pipe,
    "a full disk": FullDisk,
    "a terminal that hangs up": Terminal,
    "a pipe that nobody reads": Blocked,
    "open for reading alone": lambda: File("/dev/null", os.O_RDONLY),
}


# A descriptor that was closed, full or read-only at the start is so at every later moment too; strace, where it is, lets it
# become so in the middle: words are written one by one, and from the Nth on they fail.
traced = {"closed": "EBADF", "/dev/full": "ENOSPC", "open for reading alone": "EBADF"}
nthWord = {"step": 8, "save": 28, "end": 56}


def run(command, fd, before, way, moment):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=fd, stdin=subprocess.DEVNULL, preexec_fn=before,
                               start_new_session=True)
    lost = way.atOnce
    until = time.time() + 120
    while process.poll() is None and time.time() < until:
        if not lost and reached(out, moment):
            way.lose(process)
            lost = True
        way.pump()
        time.sleep(0.0005)
    if process.poll() is None:
        process.kill()
    return process.wait()


wanted, failures, tried, out = bytes_of(whole), [], 0, work / "out"
assert len(wanted) >= 7, wanted.keys()
for name, make in ways.items():
    for moment in ("start", "step", "save", "end"):
        shutil.rmtree(out, ignore_errors=True)
        command = [train, "--threads", "1", "--out", str(out)]
        way = make()
        if way.atOnce and moment != "start":
            if name not in traced or not shutil.which("strace"):
                continue
            log = work / "log"
            way = File(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            command = ["strace", "-qq", "-f", "-o", "/dev/null", "-P", str(log), "-e", "trace=write", "-e",
                       f"inject=write:error={traced[name]}:when={nthWord[moment]}+"] + command
        fd = way.open()
        code = run(command, fd, (lambda: os.close(2)) if fd is None else None, way, moment)
        way.close()
        tried += 1
        if code != 0:
            failures.append(f"{name}, lost at {moment}: code {code}")
        elif bytes_of(out) != wanted:
            failures.append(f"{name}, lost at {moment}: other bytes")
print(f"{tried} runs without stderr, {len(failures)} wrong")
print("\n".join(failures))
sys.exit(bool(failures))
