"""Fuzzing of every reader. Whole: libFuzzer with ASan and UBSan for 5 minutes (ReliabilityLibFuzzer, in BUILD/fuzz); a share: so many
mutations by a seed in a plain build (ReliabilityFuzz)."""
import concurrent.futures
import json
import re
import shutil
import subprocess

from programs import prepare, reference
from tally import Bad

SECONDS = 310  # of the whole, beside each other
RUNS = 20000  # mutations a harness of the plain build, at share 1
# How large a harness's inputs may grow, and of slow ones how few mutations are enough.
FEWER = {"plan": 20, "rank-history": 4, "architecture": 6, "spec": 4, "gguf-adapter": 4, "payload": 2, "model-folder": 4, "tokenizer": 4,
         "peft-adapter": 4}


def joined(*parts):
    """As partsOf in fuzz/Harness.h takes them apart."""
    return b"".join((f"{len(part):08}".encode() if number + 1 < len(parts) else b"") + part for number, part in enumerate(parts))


def cut_tensors(content, most=6):
    """A safetensors file with only its first tensors: small seeds are mutated more often where it matters."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    names = sorted((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"][0])[:most]
    end = header[names[-1]]["data_offsets"][1] if names else 0
    text = json.dumps({name: header[name] for name in names}).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length:8 + length + end]


def parts_of_payload(train):
    """The files that a train binary carries, by name."""
    content = train.read_bytes()
    number = lambda at, size: int.from_bytes(content[at:at + size], "little")
    footer = len(content) - 64
    table, files, begin = number(footer, 8), number(footer + 16, 4), number(footer + 24, 8)
    out, at = {}, table
    for _ in range(files):
        length = number(at, 4)
        name = content[at + 4:at + 4 + length].decode()
        offset, size = number(at + 4 + length, 8), number(at + 12 + length, 8)
        out[name] = content[offset:offset + size]
        at += 36 + length
    return out, content[begin:]


def seeds(bench):
    """Inputs to start from, by harness: (name, bytes)."""
    golden, specs = bench.source / "tests/golden", bench.source / "specs"
    lora, ada = reference(bench, "lora").folder, reference(bench, "adalora").folder
    text = lambda path: path.read_bytes()
    tied = golden / "tiny/tied"
    peft = [joined(text(folder / "adapter_config.json"), cut_tensors(text(folder / "adapter_model.safetensors")))
            for folder in (lora, ada, golden / "adalora/tied/adapter_final", tied / "dora_init")]
    exported = bench.work / "seed.gguf"
    bench.must([bench.lorac, "export", lora, "--format", "gguf", "-o", exported])
    weights = cut_tensors(text(tied / "model.safetensors"))
    names = json.loads(weights[8:8 + int.from_bytes(weights[:8], "little")])
    index = json.dumps({"metadata": {"total_size": 1}, "weight_map": {name: "model-00001-of-00001.safetensors" for name in names}}).encode()
    carried, payload = parts_of_payload(bench.programs["lora"] / "train")
    ada_carried, _ = parts_of_payload(bench.programs["adalora"] / "train")
    lines = b"".join(json.dumps({"text": f"sample {n} of some words"}).encode() + b"\n" for n in range(5))
    tokenizers = [text(golden / "tokenizer" / f"{kind}.tokenizer.json") for kind in ("bytelevel", "characters")]
    programs = sorted(bench.cache.rglob("*.program"))
    out = {
        "gguf": [text(exported), vocabulary_gguf()],
        "safetensors": [cut_tensors(text(golden / "gguf/gguf_blocks.safetensors")), text(golden / "tiny/train_data.safetensors")],
        "config": [text(tied / "config.json"), text(golden / "tiny/untied/config.json")],
        "peft-adapter": peft,
        "gguf-adapter": [text(exported)],
        "model-folder": [joined(text(tied / "config.json"), b"", weights), joined(text(tied / "config.json"), index, weights)],
        "tokenizer": tokenizers,
        "tokenizer-config": [b'{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": true, "add_eos_token": false}'],
        "payload": [text(program) for program in programs[:1]] or [payload],
        "plan": [carried["plan.json"], ada_carried["plan.json"]],
        "run": [carried["run.json"], ada_carried["run.json"]],
        "checkpoint": [text(lora / "checkpoint-4/trainer_state.json"), text(sorted(ada.glob("checkpoint-*"))[-1] / "trainer_state.json")],
        "metrics": [text(lora / "metrics.jsonl")],
        "rank-history": [text(ada / "metrics.jsonl")],
        "jsonl": [lines],
        "text": [b"one\n%\ntwo words\n%\n\n%\nthree more words\n"],
        "tokens": [text(golden / "tiny/train_data.safetensors")],
        "spec": [text(path) for path in sorted(specs.glob("*.toml"))],
        "architecture": [text(path) for path in sorted((specs / "architectures").glob("*.toml"))],
    }
    return out


def vocabulary_gguf():
    """A GGUF file with a small byte-level vocabulary and one tensor."""
    number = lambda value, size: value.to_bytes(size, "little")
    string = lambda value: number(len(value), 8) + value
    tokens = [b"a", b"b", b"ab", b"<s>"]
    keys = [string(b"general.architecture") + number(8, 4) + string(b"llama"),
            string(b"tokenizer.ggml.model") + number(8, 4) + string(b"gpt2"),
            string(b"tokenizer.ggml.tokens") + number(9, 4) + number(8, 4) + number(len(tokens), 8) + b"".join(map(string, tokens)),
            string(b"tokenizer.ggml.token_type") + number(9, 4) + number(5, 4) + number(4, 8) + b"".join(number(kind, 4) for kind in (1, 1, 1, 3)),
            string(b"tokenizer.ggml.merges") + number(9, 4) + number(8, 4) + number(1, 8) + string(b"a b"),
            string(b"tokenizer.ggml.bos_token_id") + number(4, 4) + number(3, 4)]
    tensor = string(b"token_embd.weight") + number(2, 4) + number(32, 8) + number(4, 8) + number(0, 4) + number(0, 8)
    head = b"GGUF" + number(3, 4) + number(1, 8) + number(len(keys), 8) + b"".join(keys) + tensor
    return head + bytes(-len(head) % 32) + bytes(4 * 32 * 4)


def write_seeds(bench):
    home = bench.work / "seeds"
    for harness, contents in seeds(bench).items():
        (home / harness).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (home / harness / f"seed-{number}").write_bytes(content)
    return home


def in_process(bench, tally, seed, share, jobs):
    prepare(bench, ["lora", "adalora"])
    home = write_seeds(bench)
    driver = bench.build / "ReliabilityFuzz"
    harnesses = bench.must([driver]).out.split()
    missing = set(harnesses) - {path.name for path in home.iterdir() if path.is_dir()}
    if missing:
        raise SystemExit(f"cannot prepare: no seeds for {', '.join(sorted(missing))}")
    whole = share >= 1
    fuzzer = bench.build / "fuzz" / "ReliabilityLibFuzzer"
    if whole and not fuzzer.exists():
        raise SystemExit(f"cannot prepare: '{fuzzer}' is not built; `make reliability` builds it")

    def plainly(harness):
        runs = max(50, round(RUNS * share / FEWER.get(harness, 1)))
        words = [driver, harness, str(seed), str(runs), home / harness]
        outcome = bench.run(words, patience=600)
        if outcome.rc == 0:
            return tally.count("fuzz", harness, "read or refused", runs)
        kept = keep(bench, home / f"last.{harness}", harness)
        tally.complain("fuzz", harness, Bad("other", f"exit {outcome.rc}: {outcome.last_words()}"), f"{driver} {harness} {kept}", runs)

    def with_libfuzzer(harness):
        found = home / f"found-{harness}"
        found.mkdir(exist_ok=True)
        seconds = SECONDS * jobs / len(harnesses)
        words = [fuzzer, f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=512",
                 "-print_final_stats=1", "-max_len=65536", "-reload=0", "-detect_leaks=1", f"-artifact_prefix={found}/", home / harness]
        bench_environment = dict(bench.environment, LORAC_HARNESS=harness, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
        process = subprocess.run([str(word) for word in words], capture_output=True, text=True, errors="replace", env=bench_environment,
                                 cwd=home)
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", process.stderr)
        edges = re.findall(r"cov: (\d+)", process.stderr)
        count = int(runs[1]) if runs else 1
        if process.returncode == 0:
            return tally.count("fuzz", f"{harness}, {edges[-1] if edges else '?'} edges", "read or refused", count)
        inputs = sorted(found.iterdir())
        kept = keep(bench, inputs[0], harness) if inputs else "(no input)"
        why = re.findall(r"^(?:SUMMARY|==\d+== ?ERROR|.*runtime error).*$", process.stderr, re.M)
        tally.complain("fuzz", harness, Bad("other", "; ".join(why[:2]) or process.stderr[-300:]), f"LORAC_HARNESS={harness} {fuzzer} {kept}", count)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(with_libfuzzer if whole else plainly, harnesses))


def keep(bench, path, harness):
    """The input, where it stays."""
    place = bench.build / "reliability-found"
    place.mkdir(exist_ok=True)
    kept = place / f"{harness}-{path.name}"
    if path.exists():
        shutil.copyfile(path, kept)
    return kept


def trials(bench, seed, share):
    return []
