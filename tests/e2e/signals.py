# Runs that signals stop at every moment; see signals.sh.
import json, os, pathlib, shutil, signal, subprocess, sys, time

plain, adalora, held, long, lorac, work = sys.argv[1:6] + [pathlib.Path(sys.argv[6])]
stops = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]
failures, tried = [], 0


def adapter(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("eval_loss"), line.get("num_input_tokens_seen")) for line in lines
            if "loss" in line or "eval_loss" in line]


def check(what, true):
    global tried
    tried += 1
    if not true:
        failures.append(what)


def start(command, **options):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                            start_new_session=True, **options)


def wait_for(process, true, patience=60):
    until = time.time() + patience
    while process.poll() is None and not true() and time.time() < until:
        time.sleep(0.0005)
    return process.poll() is None and true()


def lines(out):
    metrics = out / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def fresh(name):
    out = work / name
    shutil.rmtree(out, ignore_errors=True)
    return out


def stopped(what, process, number, out, whole, resume):
    """The run ended by the signal's code, says the command to go on, and goes on to the same bytes."""
    words = process.communicate(timeout=120)[1]
    check(f"{what}: code {process.returncode}, said {words[-300:]!r}", process.returncode == 128 + number)
    check(f"{what}: no '--resume' in {words[-300:]!r}", "--resume" in words)
    check(f"{what}: leftovers {os.listdir(out)}", not [name for name in os.listdir(out) if ".tmp-" in name])
    again = subprocess.run(resume, capture_output=True, text=True)
    check(f"{what}: resumed with code {again.returncode}: {again.stderr[-300:]!r}", again.returncode == 0)
    if again.returncode == 0:
        check(f"{what}: other bytes", adapter(out) == adapter(whole))
        check(f"{what}: other metrics", losses(out) == losses(whole))


def train(binary, out, *more):
    return [binary, "--threads", "1", "--out", str(out), *more]


# Each signal, at a few moments of the training; the micro-batches of a window are four.
for number in stops:
    for at in (3, 23):
        out = fresh("out")
        process = start(train(plain, out))
        check("the run came to its moment", wait_for(process, lambda: lines(out) >= at))
        time.sleep(0.0007 * (at % 3))
        process.send_signal(number)
        stopped(f"signal {number} at {at}", process, number, out, work / "whole", train(plain, out, "--resume"))

# Two and many, close to each other, of one kind and of two.
for pair in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGUSR1, signal.SIGTERM),
             (signal.SIGTERM, signal.SIGINT)):
    for gap in (0, 0.0002, 0.02):
        out = fresh("out")
        process = start(train(plain, out))
        wait_for(process, lambda: lines(out) >= 9)
        process.send_signal(pair[0])
        for _ in range(3):
            time.sleep(gap)
            if process.poll() is None:
                process.send_signal(pair[1])
        # Where they come at once the kernel may deliver them in another order.
        number = pair[0] if gap > 0 and pair[0] != pair[1] or pair[0] == pair[1] else None
        words = process.communicate(timeout=120)[1]
        code = process.returncode
        check(f"{pair} {gap} s apart: code {code}", code in ([128 + number] if number else [128 + p for p in pair]))
        saved = [name for name in os.listdir(out) if name.startswith("checkpoint-") and ".tmp-" not in name]
        check(f"{pair} {gap} s apart: saved {os.listdir(out)}", len(saved) == 1)
        again = subprocess.run(train(plain, out, "--resume"), capture_output=True, text=True)
        check(f"{pair}: resumed {again.stderr[-200:]!r}", again.returncode == 0 and adapter(out) == adapter(work / "whole"))

# Between two of the 300 micro-batches of a step: nothing of it is kept.
for wanted in (0, 1):
    out = fresh("out")
    process = start(train(long, out))
    check("the step began", wait_for(process, lambda: (out / "metrics.jsonl").exists() and lines(out) >= wanted))
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    saved = [name for name in os.listdir(out) if name.startswith("checkpoint-")]
    check(f"stopped in step {wanted + 1}, {saved} saved", saved == [f"checkpoint-{wanted}"])
    stopped(f"within step {wanted + 1}", process, signal.SIGTERM, out, work / "whole-long", train(long, out, "--resume"))

# One that was ignored when the run began stays ignored (nohup; a background job of a script).
for number in (signal.SIGHUP, signal.SIGINT):
    out = fresh("out")
    process = start(train(plain, out), preexec_fn=lambda: signal.signal(number, signal.SIG_IGN))
    wait_for(process, lambda: lines(out) >= 5)
    process.send_signal(number)
    process.communicate(timeout=120)
    check(f"ignored {number}: code {process.returncode}", process.returncode == 0 and adapter(out) == adapter(work / "whole"))

# While it starts there is nothing to lose: it ends at once, with the signal's code.
for number in stops:
    for moment in (0.003,):
        out = fresh("out")
        process = start(train(plain, out))
        time.sleep(moment)
        process.send_signal(number)
        words = process.communicate(timeout=120)[1]
        # Before main() the kernel ends it; a shell tells 128 + n of both.
        check(f"signal {number} at start: code {process.returncode}", process.returncode in (128 + number, -number))
        again = subprocess.run(train(plain, out, "--overwrite"), capture_output=True, text=True)
        check(f"after that: {again.stderr[-200:]!r}", again.returncode == 0 and adapter(out) == adapter(work / "whole"))

# While the compiler is probed, and while a swap waits for it: `slow` and `endless` say when they were asked.
slow = work / "slow.lorac"
slow.write_text(f'#!/bin/bash\ntouch "$0.asked"\nsleep 1\nexec "{lorac}" "$@"\n')
endless = work / "endless.lorac"
endless.write_text(f'#!/bin/bash\n[[ $2 == --probe ]] && exec "{lorac}" "$@"\ntouch "$0.asked"\nexec sleep 1000\n')
for script in (slow, endless):
    script.chmod(0o755)
out = fresh("out")
process = start(train(adalora, out, "--lorac", str(slow)))
check("probed", wait_for(process, lambda: pathlib.Path(f"{slow}.asked").exists()))
time.sleep(0.2)
begin = time.time()
process.send_signal(signal.SIGTERM)
words = process.communicate(timeout=120)[1]
check(f"TERM while probing: code {process.returncode} {words!r}", process.returncode == 143 and "does not answer" not in words)
os.unlink(f"{slow}.asked")
# A signal that is no reason to stop interrupts waiting too.
process = start(train(adalora, out, "--lorac", str(slow), "--overwrite"))
wait_for(process, lambda: pathlib.Path(f"{slow}.asked").exists())
for _ in range(5):
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.05)
words = process.communicate(timeout=120)[1]
check(f"stopped and continued while probing: code {process.returncode} {words[-300:]!r}",
      process.returncode == 0 and adapter(out) == adapter(work / "whole-adalora"))
shutil.rmtree(os.environ["LORAC_CACHE_DIR"] + "/programs", ignore_errors=True)
out = fresh("out")
process = start(train(adalora, out, "--lorac", str(endless)))
check("asked for a program", wait_for(process, lambda: lines(out) >= 15 and pathlib.Path(f"{endless}.asked").exists()))
time.sleep(0.3)
process.send_signal(signal.SIGHUP)
time.sleep(0.01)
process.send_signal(signal.SIGHUP)
stopped("HUP while a swap waits", process, signal.SIGHUP, out, work / "whole-adalora",
        train(adalora, out, "--lorac", lorac, "--resume"))

# While it evaluates: first, in the middle, last. A run whose last evaluation is left out is not done.
for number, wanted in ((signal.SIGTERM, 0), (signal.SIGUSR1, 4), (signal.SIGTERM, 8)):
    out = fresh("out")
    process = start(train(held, out))
    steps = lambda: (out / "metrics.jsonl").read_text().count('"loss"') if (out / "metrics.jsonl").exists() else -1
    check("the evaluation began", wait_for(process, lambda: steps() >= wanted))
    time.sleep(0.003)
    process.send_signal(number)
    stopped(f"signal {number} in the evaluation after step {wanted}", process, number, out, work / "whole-held",
            train(held, out, "--resume"))
    if wanted == 8:
        check("its checkpoint has the evaluation that was left out",
              [[8, losses(work / "whole-held")[-1][2]]] == json.loads((out / "checkpoint-8/trainer_state.json").read_text())["evals"][-1:]
              if "evals" in json.loads((out / "checkpoint-8/trainer_state.json").read_text()) else True)

# In `eval` and `generate` it ends what is under way, and nothing is written.
logits = work / "logits.safetensors"
logits.unlink(missing_ok=True)
process = start([held, "--eval", "--threads", "1", "--logits", str(logits)])
time.sleep(0.05)
process.send_signal(signal.SIGTERM)
words = process.communicate(timeout=60)[1]
check(f"TERM in eval: code {process.returncode} {words!r}", process.returncode in (143, 0) and
      (process.returncode == 0) == logits.exists())
check("nothing half-written by eval", not list(work.glob("logits*.tmp-*")))

print(f"{tried} checks of signals, {len(failures)} wrong")
print("\n".join(failures))
sys.exit(bool(failures))
