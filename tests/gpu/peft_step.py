"""peft_step.py lora|qlora: the incumbents' step on this GPU, of the model that roofline.py times: transformers, PEFT, bitsandbytes' NF4.

Prints one line of JSON: the median step in milliseconds, tokens per second, and the peak of the GPU's memory. Weights are drawn.
"""
import json
import statistics
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TOKENS, STEPS, WARM = 4096, 10, 4

method = sys.argv[1]
torch.manual_seed(7)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = LlamaForCausalLM(LlamaConfig(
        num_hidden_layers=2, hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256,
        rms_norm_eps=1e-5, max_position_embeddings=8192, attn_implementation="sdpa", use_cache=False))

if method == "qlora":
    import bitsandbytes as bnb

    def quantize(module):
        for name, child in list(module.named_children()):
            if name not in TARGETS:
                quantize(child)
                continue
            linear = bnb.nn.Linear4bit(child.in_features, child.out_features, bias=False, compute_dtype=torch.bfloat16,
                                       compress_statistics=True, quant_type="nf4")
            linear.weight = bnb.nn.Params4bit(child.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True,
                                              module=linear)
            setattr(module, name, linear.to("cuda"))

    quantize(model)
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"))
for name, parameter in model.named_parameters():
    if parameter.requires_grad:
        parameter.data = parameter.data.float()  # master adapters, as PEFT keeps them
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
model.train()
torch.cuda.reset_peak_memory_stats()
seconds = []
for step in range(WARM + STEPS):
    ids = torch.randint(0, 128256, (1, TOKENS), device="cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)
middle = statistics.median(seconds[WARM:])
print(json.dumps({"peer": f"PEFT {method}", "step_ms": round(middle * 1e3, 2), "tokens_per_second": round(TOKENS / middle),
                  "peak_memory_mib": torch.cuda.max_memory_allocated() >> 20, "torch": torch.__version__}))
