"""The incumbents' training step, for `make bench`: PEFT on transformers, QLoRA with bitsandbytes' NF4, all on the CPU.

peft_step.py lora|qlora GGUF CORPUS STEPS THREADS: prints one line of JSON.
"""
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

method, gguf, corpus = sys.argv[1:4]
steps, threads = int(sys.argv[4]), int(sys.argv[5])
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH, LENGTH = 4, 256

torch.set_num_threads(threads)
torch.manual_seed(7)
folder, name = os.path.split(os.path.abspath(gguf))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
with open(corpus, encoding="utf-8") as file:
    ids = torch.tensor(tokenizer(file.read(400_000), add_special_tokens=False)["input_ids"])
batches = [ids[i * BATCH * LENGTH:(i + 1) * BATCH * LENGTH].view(BATCH, LENGTH) for i in range(steps)]
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, attn_implementation="sdpa")
model.config.use_cache = False

if method == "qlora":
    import bitsandbytes as bnb

    def quantize(module):
        for child_name, child in list(module.named_children()):
            if not (isinstance(child, torch.nn.Linear) and child_name in TARGETS):
                quantize(child)
                continue
            linear = bnb.nn.Linear4bit(child.in_features, child.out_features, bias=False, compute_dtype=torch.float32,
                                       compress_statistics=True, quant_type="nf4")
            linear.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4",
                                              compress_statistics=True, module=linear)
            linear.to("cpu")
            setattr(module, child_name, linear)

    quantize(model)

model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
model.train()
seconds = []
for batch in batches:
    start = time.perf_counter()
    model(input_ids=batch, labels=batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
print(json.dumps({"tokens_per_second": [BATCH * LENGTH / s for s in seconds],
                  "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
