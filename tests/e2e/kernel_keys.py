"""kernel_keys.py LORAC SOURCE FOLDER COUNT SEED: see kernel-keys.sh."""

import json
import pathlib
import random
import re
import struct
import subprocess
import sys

lorac, source, folder, count, seed = sys.argv[1], *map(pathlib.Path, sys.argv[2:4]), *map(int, sys.argv[4:6])
rng = random.Random(seed)
GGML = {"f32": (0, 1, 4), "f16": (1, 1, 2), "q4_0": (2, 32, 18), "q4_1": (3, 32, 20), "q8_0": (8, 32, 34), "q5_0": (6, 32, 22),
        "q5_1": (7, 32, 24), "q4_k": (12, 256, 144), "q5_k": (13, 256, 176), "q6_k": (14, 256, 210), "bf16": (30, 1, 2)}


def gguf(path, shape, kinds):
    """A model of zeros: `kinds` are the types that its linears take in turn."""
    hidden, ffn, vocab, layers = shape["hidden_size"], shape["intermediate_size"], shape["vocab_size"], shape["layers"]
    q, kv = shape["n_heads"] * shape["head_dim"], shape["n_kv_heads"] * shape["head_dim"]
    keys = {"general.architecture": "llama", "llama.block_count": layers, "llama.context_length": 256, "llama.embedding_length": hidden,
            "llama.feed_forward_length": ffn, "llama.attention.head_count": shape["n_heads"],
            "llama.attention.head_count_kv": shape["n_kv_heads"], "llama.attention.key_length": shape["head_dim"],
            "llama.attention.value_length": shape["head_dim"], "llama.rope.dimension_count": shape["head_dim"], "llama.vocab_size": vocab,
            "llama.rope.freq_base": 10000.0, "llama.attention.layer_norm_rms_epsilon": 1e-5}
    names = [("token_embd", [vocab, hidden]), ("output_norm", [hidden]), ("output", [vocab, hidden])]
    for i in range(layers):
        names += [(f"blk.{i}.{n}", d) for n, d in (("attn_norm", [hidden]), ("attn_q", [q, hidden]), ("attn_k", [kv, hidden]),
                                                  ("attn_v", [kv, hidden]), ("attn_output", [hidden, q]), ("ffn_norm", [hidden]),
                                                  ("ffn_gate", [ffn, hidden]), ("ffn_up", [ffn, hidden]), ("ffn_down", [hidden, ffn]))]

    def text(word):
        return struct.pack("<Q", len(word)) + word.encode()

    out = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(keys))
    for key, value in keys.items():
        out += text(key) + (struct.pack("<I", 8) + text(value) if isinstance(value, str) else
                            struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value))
    offset, used = 0, []
    for name, dims in names:
        fitting = [k for k in kinds if dims[-1] % GGML[k][1] == 0]
        kind = "f32" if len(dims) == 1 else rng.choice(fitting or ["f32"])
        used.append(kind)
        code, block, size = GGML[kind]
        elements = dims[0] * (dims[1] if len(dims) > 1 else 1)
        out += text(name + ".weight") + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in reversed(dims))
        out += struct.pack("<IQ", code, offset)
        offset += -(-elements // block * size // 32) * 32
    path.write_bytes(out + bytes(-len(out) % 32) + bytes(offset))
    return set(used)


def spec(number):
    kv = rng.choice([1, 2, 3])
    shape = {"layers": rng.choice([1, 2, 3]), "hidden_size": rng.choice([16, 40, 64, 96, 160, 256]),
             "intermediate_size": rng.choice([32, 72, 176, 352]), "n_heads": kv * rng.choice([1, 2, 4]), "n_kv_heads": kv,
             "head_dim": rng.choice([8, 16, 32, 64]), "vocab_size": rng.choice([64, 500, 1031]), "rms_norm_eps": 1e-5,
             "max_position_embeddings": 256}
    form = rng.choice(["none", "keep", "nf4", "fp4"])
    lines = ["[model]", 'architecture = "llama"']
    if form == "keep" or rng.random() < 0.2:
        path = folder / f"model{number}.gguf"
        gguf(path, shape, rng.sample(sorted(GGML), rng.randint(1, 4)))
        lines.append(f'source = "{path}"')
    else:
        lines.append("shape = { " + ", ".join(f"{k} = {v}" for k, v in shape.items()) + " }")
    lines += ["[quantization]", f'format = "{form}"']
    if form in ("nf4", "fp4"):
        lines += [f"block_size = {rng.choice([32, 64, 128, 256])}", f"double_quant = {rng.choice(['true', 'false'])}"]
    adalora = rng.random() < 0.3
    rank = rng.choice([1, 2, 4, 7, 8, 16, 24, 64])
    lines += ["[adapter]", f'method = "{"adalora" if adalora else "lora"}"', f"lora_alpha = {rng.choice([1, 8, 24])}"]
    lines.append('target_modules = ' + rng.choice(['"all-linear"', '["q_proj", "v_proj"]', '["down_proj"]', '["gate_proj", "up_proj"]']))
    if rng.random() < 0.4:
        lines.append(f"lora_dropout = {rng.choice([0.05, 0.5])}")
    if adalora:
        lines += ["[adapter.adalora]", f"init_r = {rank}", f"target_r = {max(1, rank // 2)}", "tinit = 1", "tfinal = 6", "deltaT = 1"]
    else:
        lines += [f"r = {rank}", f"use_rslora = {rng.choice(['true', 'false'])}"]
        if rng.random() < 0.5:
            lines += ["[[adapter.rule]]", 'modules = "layers.0.*"', f"r = {rng.choice([1, 3, 12])}"]
    optimizer = rng.choice(optimizers)
    lines += ["[optimizer]", f'name = "{optimizer}"', "learning_rate = 1e-3", f"max_grad_norm = {rng.choice([0, 1.0])}"]
    if optimizer.endswith("8bit"):
        lines.append(f"min_8bit_size = {rng.choice([64, 512, 4096])}")
    batch, length = rng.choice([(1, 8), (4, 32), (2, 200), (3, 17)])
    lines += ["[[data]]", 'name = "t"', f'path = "{folder}/data.txt"', "[train]", f'output_dir = "{folder}/out"', "steps = 9",
              f"batch_size = {batch}", f"max_length = {length}"]
    path = folder / f"spec{number}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


(folder / "data.txt").write_text("words\n")
optimizers = re.findall(r'LORAC_OPTIMIZER\(\w+, "(\w+)"', (source / "dsl/Optimizers.def").read_text())
families = {}
failed = 0
for number in range(count):
    path = spec(number)
    out = folder / f"out{number}"
    for words in (["plan", str(path), "--set", "target.device=cuda"], ["compile", str(path), "--cpu", "x86-64-v3", "-o", str(out)]):
        done = subprocess.run([lorac, *words], capture_output=True, text=True)
        if done.returncode != 0:
            failed += 1
            print(f"lorac {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-600:]}\n{path.read_text()}")
    if (out / "plan.json").exists():
        for kernel in json.loads((out / "plan.json").read_text())["kernels"]:
            families.setdefault(kernel["family"], set()).add(kernel["name"])
print(f"{count} specs, {failed} refusals; {sum(map(len, families.values()))} kernels of {len(families)} families: {sorted(families)}")
assert len(families) >= 12, "the specs reach too few families"
sys.exit(1 if failed else 0)
