"""The incumbents' training step, for `make bench` and `make bench-neighbour`: PEFT on transformers, QLoRA with bitsandbytes' NF4, all on
the CPU.

peft_step.py lora|qlora GGUF CORPUS STEPS THREADS [--dtype TYPE] [--checkpointing] [--progress FILE]: prints one line of JSON; FILE gets a
line after every step.
"""
import argparse
import json
import os
import resource
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("method", choices=["lora", "qlora"])
parser.add_argument("gguf")
parser.add_argument("corpus")
parser.add_argument("steps", type=int)
parser.add_argument("threads", type=int)
parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the frozen model and what it computes in")
parser.add_argument("--checkpointing", action="store_true", help="activations of a layer are made again in the backward pass")
parser.add_argument("--progress")
options = parser.parse_args()
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH, LENGTH = 4, 256
dtype = getattr(torch, options.dtype)

torch.set_num_threads(options.threads)
torch.manual_seed(7)
folder, name = os.path.split(os.path.abspath(options.gguf))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
with open(options.corpus, encoding="utf-8") as file:
    ids = torch.tensor(tokenizer(file.read(400_000), add_special_tokens=False)["input_ids"])
places = len(ids) // (BATCH * LENGTH)
batches = [ids[i % places * BATCH * LENGTH:][:BATCH * LENGTH].view(BATCH, LENGTH) for i in range(options.steps)]
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype, attn_implementation="sdpa")
model.config.use_cache = False

if options.method == "qlora":
    import bitsandbytes as bnb

    def quantize(module):
        for child_name, child in list(module.named_children()):
            if not (isinstance(child, torch.nn.Linear) and child_name in TARGETS):
                quantize(child)
                continue
            linear = bnb.nn.Linear4bit(child.in_features, child.out_features, bias=False, compute_dtype=dtype,
                                       compress_statistics=True, quant_type="nf4")
            linear.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4",
                                              compress_statistics=True, module=linear)
            linear.to("cpu")
            setattr(module, child_name, linear)

    quantize(model)

# Adapters are float32 in either case, as PEFT makes them by default.
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"))
if options.checkpointing:
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
model.train()
seconds = []
for batch in batches:
    start = time.perf_counter()
    model(input_ids=batch, labels=batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
    if options.progress:
        with open(options.progress, "a", encoding="utf-8") as file:
            file.write(f"step {len(seconds)}\n")
print(json.dumps({"tokens_per_second": [BATCH * LENGTH / s for s in seconds],
                  "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
