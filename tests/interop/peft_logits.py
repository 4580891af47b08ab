"""An adapter that lorac trained, loaded into PEFT: the logits must be those of `lorac eval`, to 1e-4 of the largest.

peft_logits.py LORAC SOURCE WORK
"""
import subprocess
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM

lorac, source, work = (Path(argument).resolve() for argument in sys.argv[1:4])

# Name, spec, and what the command line changes in it. The golden models are Hugging Face directories of their own.
CASES = [
    ("untied", "tiny_lora", []),
    ("tied", "tiny_lora", []),
    ("untied", "tiny_rslora", []),
    ("tied", "tiny_loraplus", []),
    ("untied", "tiny_lora", ["--set", "adapter.r=3", "--set", 'adapter.target_modules=["q_proj", "down_proj"]']),
    ("untied", "tiny_lora", ["--set", "adapter.use_dora=true"]),
    ("tied", "tiny_rslora", ["--set", "adapter.use_dora=true"]),
    # Ranks that fell: what is written is plain LoRA of varying ranks, modules of rank 0 left out.
    *[(model, "tiny_adalora", ["--set", f"adapter.adalora.prune={mode}"])
      for model, mode in (("tied", "mask"), ("untied", "final"), ("tied", "bucketed"), ("untied", "eager"))],
]


def run(*words):
    subprocess.run([str(word) for word in words], check=True, cwd=source, stdout=subprocess.DEVNULL)


def check(number, model, spec, changes):
    folder = source / "tests/golden/tiny" / model
    out, logits, generated = work / f"out{number}", work / f"logits{number}.safetensors", work / f"generated{number}"
    common = [f"specs/{spec}.toml", "--generated", generated, "--set", f'model.source="{folder}"', *changes]
    run(lorac, "train", *common, "--out", out, "--quiet")
    run(lorac, "eval", *common, "--adapter", out, "--logits", logits, "--samples", 4)

    folders = [out]
    if spec == "tiny_adalora":  # the same adapter as triplets, in the layout of PEFT's own AdaLoRA
        folders.append(work / f"triplets{number}")
        run(lorac, "export", out, "--format", "peft-adalora", "-o", folders[1])
    same = True
    for adapter in folders:
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        same &= compare(f"{spec} on the {model} model {' '.join(changes)}", PeftModel.from_pretrained(base, adapter).eval(), logits)
    return same


def compare(name, adapted, logits):
    worst = 0.0
    with safe_open(logits, "pt") as file, torch.no_grad():
        for sample in range(4):
            ids = file.get_tensor(f"input_ids.{sample}").long().unsqueeze(0)
            ours = file.get_tensor(f"logits.{sample}")
            theirs = adapted(ids).logits[0]
            worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())
            with adapted.disable_adapter():
                moved = (adapted(ids).logits[0] - theirs).abs().max().item()
    print(f"{name}, {adapted.peft_config['default'].peft_type.value}: {worst:.1e} of the largest logit; the adapter moves {moved:.2f}")
    return worst < 1e-4 and moved > 1e-2


if not all([check(number, *case) for number, case in enumerate(CASES)]):
    sys.exit("PEFT's logits differ from lorac's")
