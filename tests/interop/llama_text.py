"""A GGUF adapter that lorac trained and exported, loaded into llama.cpp: the same greedy text as `lorac generate`.

llama_text.py LORAC SOURCE WORK. On an F32 GGUF with an F32 KV cache: over quantized blocks llama.cpp rounds activations.
"""
import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy
from llama_cpp import Llama

lorac, source, work = (Path(argument).resolve() for argument in sys.argv[1:4])
PROMPTS = ["The trouble with computers is that", "Never trust a", "A man who"]
TOKENS = 24


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, cwd=source, stdout=subprocess.PIPE).stdout


def dequantized(path, out):
    """The same model with all tensors in float32."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


base = work / "smollm2-f32.gguf"
dequantized(source / "models/SmolLM2-135M-Instruct.Q4_1.gguf", base)
# The shipped spec without its rank, which AdaLoRA has in a table of its own.
spec = work / "smollm2.toml"
spec.write_text((source / "specs/smollm2_lora.toml").read_text().replace("\nr = 16\n", "\n").replace('"../models/', f'"{source}/models/'))
F32 = 0  # GGML_TYPE_F32, for the KV cache
plain = Llama(str(base), n_ctx=256, type_k=F32, type_v=F32, verbose=False)


def train_and_compare(name, changes):
    """Trains, exports and generates; whether llama.cpp writes the same, and whether the adapter changes anything."""
    adapter, out = work / f"{name}.gguf", work / f"out-{name}"
    common = [spec, "--generated", work / f"generated-{name}", "--set", f'model.source="{base}"',
              "--set", "quantization.format=none", *[word for change in changes for word in ("--set", change)]]
    run(lorac, "train", *common, "--out", out, "--quiet", "--set", "schedule.name=constant",
        "--set", "train.eval_steps=0", "--set", "data.eval_fraction=0")
    run(lorac, "export", out, "--format", "gguf", "-o", adapter)
    ours = json.loads(run(lorac, "generate", *common, "--adapter", out, "--json", "--max-new-tokens", TOKENS,
                          *[word for prompt in PROMPTS for word in ("--prompt", prompt)]))
    llama = Llama(str(base), lora_path=str(adapter), n_ctx=256, type_k=F32, type_v=F32, verbose=False)
    same, moved = True, False
    for prompt, answer in zip(PROMPTS, ours):
        theirs = llama.create_completion(prompt, max_tokens=TOKENS, temperature=0.0)["choices"][0]["text"]
        without = plain.create_completion(prompt, max_tokens=TOKENS, temperature=0.0)["choices"][0]["text"]
        moved |= without != theirs
        equal = theirs == answer["text"]
        same &= equal
        print(f"{name}: {'same' if equal else 'DIFFERENT'}: {prompt!r} -> {theirs!r}"
              + ("" if equal else f", lorac: {answer['text']!r}"))
    if not moved:
        print(f"{name}: the adapter changes nothing")
    return same and moved


SHORT = ["train.batch_size=1", "train.max_length=64"]
ADALORA = ["adapter.method=adalora", "adapter.adalora.init_r=12", "adapter.adalora.target_r=3", "adapter.adalora.tinit=2",
           "adapter.adalora.tfinal=14", "adapter.adalora.deltaT=2", "adapter.adalora.rebuild=always", "train.steps=24",
           "optimizer.learning_rate=5e-3", *SHORT]
CASES = [("lora", ["adapter.r=16", "train.steps=4", "optimizer.learning_rate=2e-3"]),
         *[(mode, [*ADALORA, f"adapter.adalora.prune={mode}"]) for mode in ("mask", "final", "bucketed", "eager")]]
if not all([train_and_compare(*case) for case in CASES]):
    sys.exit("llama.cpp's text is not that of lorac's adapters")
