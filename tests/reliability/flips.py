"""Bit flips: of checkpoints, adapters, entries of the kernel cache and the payload of `train`. Tens of thousands in one process by
lorac's own readers (ReliabilityFlips), and some hundreds through the shipped binaries."""
import json
import random
import re
import shutil

from programs import metrics, prepare, reference
from tally import Bad
from trials import Trial, sample


def flip(path, draw, begin=0):
    content = bytearray(path.read_bytes())
    at, bit = draw.randrange(begin, len(content)), draw.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"byte {at}, bit {bit} of {path.name}"


def cut(path, draw, most):
    """What a power cut leaves of a file that was not synced: its first bytes."""
    size = draw.randrange(most)
    with open(path, "r+b") as file:
        file.truncate(size)
    return f"{path.name} cut at byte {size}"


def payload_begin(path):
    content = path.read_bytes()
    return int.from_bytes(content[-64 + 24:-64 + 32], "little")


def in_process(bench, tally, seed, share):
    """100,000 flips at share 1."""
    whole = reference(bench, "lora")
    driver = bench.build / "ReliabilityFlips"
    home = bench.folder("flips")
    home.mkdir(parents=True)
    counts = {"checkpoint": 40000, "adapter": 30000, "payload": 20000, "cache": 12000}
    shutil.copytree(whole.folder, home / "adapter")
    shutil.copytree(whole.folder / "checkpoint-4", home / "checkpoint")
    shutil.copyfile(bench.programs["lora"] / "train", home / "payload")
    for kind, count in counts.items():
        words = [driver, str(seed), kind, home / kind, str(max(1, round(count * share)))]
        outcome = bench.run(words, patience=600)
        again = f"{driver} {seed} {kind} COPY_OF_{kind.upper()} {words[-1]}"
        found = re.search(rf"^{kind} tried (\d+) found (\d+) silent (\d+)$", outcome.out, re.M)
        if not found:
            tally.complain("flips", f"{kind} in process", Bad("other", f"exit {outcome.rc}: {outcome.last_words()}"), again)
            continue
        tally.count("flips", f"{kind} in process", "found", int(found[2]))
        if int(found[3]):
            examples = "; ".join(re.findall(r"^silent (.*)$", outcome.out, re.M)[:3])
            tally.complain("flips", f"{kind} in process", Bad("silent", f"{found[3]} flips are read without a word: {examples}"), again, int(found[3]))
    shutil.rmtree(home, ignore_errors=True)


def through_binaries(bench, seed):
    """Trials of the shipped binaries on flipped files."""
    whole = reference(bench, "lora")

    def checkpoint(number):
        def act(folder):
            draw = random.Random(f"{seed} checkpoint {number}")
            out = folder / "out"
            shutil.copytree(whole.folder, out)
            shutil.rmtree(out / "checkpoint-4")
            path = out / "checkpoint-3" / draw.choice(("adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "trainer_state.json"))
            what = flip(path, draw) if draw.random() < 0.8 else cut(path, draw, path.stat().st_size)
            outcome = bench.run(bench.train("lora", out, "--resume"))
            if outcome.rc != 0:
                raise Bad("lost", f"{what}: exit {outcome.rc}: {outcome.last_words()}")
            if "corrupt" not in outcome.err:
                raise Bad("silent", f"{what}: resumed without a word")
            whole.check_end(out, missing=True)
            return "found, older one taken"

        return Trial("flips", "resume from a flipped checkpoint", f"flips:checkpoint:{number}", act)

    def adapter(number, how):
        def act(folder):
            draw = random.Random(f"{seed} adapter {number} {how}")
            out = folder / "out"
            shutil.copytree(whole.folder, out)
            what = flip(out / draw.choice(("adapter_config.json", "adapter_model.safetensors")), draw)
            words = {"eval": [bench.programs["lora"] / "train", "--eval", "--threads", "1", "--adapter", out],
                     "export": [bench.lorac, "export", out, "--format", "peft", "-o", folder / "exported"],
                     "verify": [bench.lorac, "verify", out]}[how]
            outcome = bench.run(words)
            if outcome.rc == 0:
                raise Bad("silent", f"{what}: '{how}' takes it")
            if outcome.rc != 5:
                raise Bad("other", f"{what}: '{how}' exits with {outcome.rc}: {outcome.last_words()}")
            return "found"

        return Trial("flips", f"{how} of a flipped adapter", f"flips:{how}:{number}", act)

    def metrics_cut(number):
        def act(folder):
            draw = random.Random(f"{seed} metrics {number}")
            out = folder / "out"
            shutil.copytree(whole.folder, out)
            shutil.rmtree(out / "checkpoint-4")
            counted = json.loads((out / "checkpoint-3/trainer_state.json").read_text())["metrics_bytes"]
            what = cut(out / "metrics.jsonl", draw, counted)
            outcome = bench.run(bench.train("lora", out, "--resume"))
            if outcome.rc != 0:
                raise Bad("lost", f"{what}: exit {outcome.rc}: {outcome.last_words()}")
            if any(not isinstance(line, dict) for line in metrics(out)):
                raise Bad("silent", f"{what}: a broken line stays in it")
            if "metrics" not in outcome.err:
                raise Bad("silent", f"{what}: resumed without a word")
            whole.check_end(out, lines=False)
            return "said, whole lines kept"

        return Trial("flips", "resume with metrics cut short", f"flips:metrics:{number}", act)

    def verify_whole(folder):
        outcome = bench.run([bench.lorac, "verify", whole.folder])
        if outcome.rc != 0:
            raise Bad("other", f"'lorac verify' of an undamaged run: exit {outcome.rc}: {outcome.last_words()}")
        return "whole"

    def payload(number):
        def act(folder):
            draw = random.Random(f"{seed} payload {number}")
            train = folder / "train"
            shutil.copy(bench.programs["lora"] / "train", train)
            what = flip(train, draw, payload_begin(train))
            outcome = bench.run([train, "--quiet", "--threads", "1", "--out", folder / "out"])
            if outcome.rc != 5:
                raise Bad("silent" if outcome.rc == 0 else "other", f"{what}: exit {outcome.rc}: {outcome.last_words()}")
            return "found"

        return Trial("flips", "a flipped train binary", f"flips:payload:{number}", act)

    out = [checkpoint(number) for number in range(120)]
    out += [adapter(number, how) for how, count in (("eval", 100), ("verify", 40), ("export", 40)) for number in range(count)]
    out += [metrics_cut(number) for number in range(30)] + [Trial("flips", "verify of an undamaged run", "flips:whole", verify_whole)]
    return out + [payload(number) for number in range(60)]


def trials(bench, seed, share):
    prepare(bench, ["lora"])
    all_of = through_binaries(bench, seed)
    return sample(seed, all_of, max(1, round(len(all_of) * share)))
