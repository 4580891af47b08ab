"""The incumbents' side of `make bench-adalora`: PEFT's AdaLoRA over the same batches, on the CPU.

peft_adalora.py GGUF TRAIN HELDOUT TASK(json) SEED THREADS OUT: OUT gets a line of JSON after each step, at last one with the held-out loss.
"""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from peft import AdaLoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

gguf, train, heldout, task, seed, threads, out = sys.argv[1:8]
task = json.loads(task)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
torch.set_num_threads(int(threads))
torch.manual_seed(int(seed))
folder, name = os.path.split(os.path.abspath(gguf))
beside = os.path.exists(os.path.join(folder, "model.safetensors"))
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa",
                                             **({} if beside else {"gguf_file": name}))
model.config.use_cache = False

if task["quantization"] == "nf4":
    import bitsandbytes as bnb

    def quantize(module):
        for child_name, child in list(module.named_children()):
            if not (isinstance(child, torch.nn.Linear) and child_name in TARGETS):
                quantize(child)
                continue
            linear = bnb.nn.Linear4bit(child.in_features, child.out_features, bias=False, compute_dtype=torch.float32,
                                       compress_statistics=True, quant_type="nf4")
            linear.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True,
                                              module=linear)
            linear.to("cpu")
            setattr(module, child_name, linear)

    quantize(model)


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


model = get_peft_model(model, AdaLoraConfig(
    init_r=task["init"], target_r=task["target"], tinit=task["tinit"], tfinal=task["tfinal"], deltaT=task["delta"],
    total_step=task["steps"], beta1=0.85, beta2=0.85, orth_reg_weight=0.1, lora_alpha=task["init"], lora_dropout=0.0,
    target_modules=TARGETS, task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=task["rate"], weight_decay=0.0)
model.train()
progress = open(out, "w", buffering=1)
for step, ids in enumerate(load_file(train)["input_ids"].long()):
    for group in optimizer.param_groups:
        group["lr"] = task["rate"] * (task["steps"] - step) / task["steps"]
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    model.base_model.update_and_allocate(step)
    optimizer.zero_grad()
    progress.write(json.dumps({"resident_bytes": resident()}) + "\n")

model.eval()
total = labels = 0
with torch.no_grad():
    for ids in load_file(heldout)["input_ids"].long():
        logits = model.base_model.model(input_ids=ids).logits[:, :-1]
        total += torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), reduction="sum").item()
        labels += ids[:, 1:].numel()
progress.write(json.dumps({"loss": total / labels}) + "\n")
